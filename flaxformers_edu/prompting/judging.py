"""What answers are worth: texts beside their references, candidates beside each other."""

from collections.abc import Sequence
from typing import Any

from flaxformers_edu.metrics.bleu import sacrebleu_score
from flaxformers_edu.metrics.rouge import rouge_scores
from flaxformers_edu.metrics.squad import exact_match, word_f1
from flaxformers_edu.prompting.scoring import Likelihood


def text_scores(
    names: Sequence[str], texts: Sequence[str], references: Sequence[str]
) -> dict[str, float]:
    """Scores of texts by the names that `Generation.metrics` has, from 0 to 100."""
    pairs = list(zip(texts, references, strict=True))
    found: dict[str, float] = {}
    for name in names:
        if name == "exact_match":
            found[name] = 100.0 * sum(exact_match(*pair) for pair in pairs) / len(pairs)
        elif name == "f1":
            found[name] = 100.0 * sum(word_f1(*pair) for pair in pairs) / len(pairs)
        elif name == "bleu":
            found[name] = sacrebleu_score(texts, references).score
        else:
            found |= rouge_scores(texts, [[reference] for reference in references])
    return found


def compared(
    candidates: Sequence[str], found: Sequence[Likelihood], alone: Sequence[Likelihood] | None
) -> dict[str, Any]:
    """The candidates' scores, and which is the best by each."""
    scores = {
        "sum": [one.log_likelihood for one in found],
        "tokens": [one.log_likelihood / one.tokens for one in found],
        "bytes": [
            one.log_likelihood / len(text.encode())
            for one, text in zip(found, candidates, strict=True)
        ],
    }
    if alone is not None:
        scores["unconditional"] = [
            one.log_likelihood - other.log_likelihood
            for one, other in zip(found, alone, strict=True)
        ]
    chosen = {name: values.index(max(values)) for name, values in scores.items()}
    return {"candidates": list(candidates), "log_likelihoods": scores["sum"], "chosen": chosen}
