"""A model of ours in EleutherAI's `lm-eval` (the extra "lm-eval"), by its Python interface.

```python
import lm_eval
from flaxformers_edu.prompting.lm_eval import LMEvalModel

model = LMEvalModel(ff.from_pretrained("gpt2/", "causal_lm"), batch_size=8)
results = lm_eval.simple_evaluate(model=model, tasks=["lambada_openai"])
```
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import Pretrained
from flaxformers_edu.prompting.generation import Writing, write_after
from flaxformers_edu.prompting.scoring import Likelihood, Scorer
from flaxformers_edu.prompting.tokens import Query, Reader
from flaxformers_edu.prompting.windows import text_likelihoods

try:
    from lm_eval.api.model import LM
except ModuleNotFoundError as error:
    raise InputError("lm-eval is not installed: pip install 'flaxformers-edu[lm-eval]'") from error

Requests = Sequence[Any]
"""Of lm-eval's Instance, whose `args` say what is asked."""
IGNORED = ("temperature", "top_p", "top_k")
"""Settings of sampling: without `do_sample` they say nothing."""


class LMEvalModel(LM):
    """Answers lm-eval's three kinds of requests, as its own model for Hugging Face does.

    Candidates of one context are asked in requests of their own; the context is read once.
    A context that is too long loses its beginning.
    """

    def __init__(
        self, pretrained: Pretrained, *, batch_size: int = 8, max_gen_toks: int = 256
    ) -> None:
        """Raises InputError where the model has no tokeniser or does not continue texts.

        Args:
            pretrained: see `from_pretrained(folder, "causal_lm")`.
            batch_size: contexts that are read at once.
            max_gen_toks: longest generated text, where a task does not say.
        """
        super().__init__()
        self._reader, self._scorer = Reader.of(pretrained), Scorer(pretrained, batch_size)
        self._max_new_tokens = max_gen_toks

    def loglikelihood(self, requests: Requests) -> list[tuple[float, bool]]:
        """For each (context, continuation): its log-likelihood, and whether it is the greedy one.

        Raises:
            InputError: a continuation that is longer than the model reads, or has no tokens.
        """
        texts: dict[str, dict[str, None]] = defaultdict(dict)
        for request in requests:
            context, continuation = request.args
            texts[context][continuation] = None
        asked: dict[tuple[str, str], tuple[Query, int]] = {}
        for context, continuations in texts.items():
            query = self._reader.query(context, list(continuations))
            fits = query.length <= self._scorer.max_length
            for place, continuation in enumerate(continuations):
                one = (query, place) if fits else (self._cut(query, place), 0)
                asked[context, continuation] = one
        queries = list(dict.fromkeys(query for query, _ in asked.values()))
        found = dict(zip(queries, self._scorer(queries), strict=True))

        def answer(args: Any) -> Likelihood:
            query, place = asked[tuple(args)]
            return found[query][place]

        return [answer(request.args)[:2] for request in requests]

    def _cut(self, query: Query, place: int) -> Query:
        """One of the continuations, behind the end of the context that there is room for."""
        text = query.continuations[place]
        room = self._scorer.max_length + 1 - len(text)
        if room < 1:
            raise InputError(
                f"a continuation has {len(text)} tokens, and the model reads "
                f"{self._scorer.max_length}"
            )
        return Query(query.context[-room:], (text,))

    def loglikelihood_rolling(self, requests: Requests) -> list[float]:
        """The log-likelihood of each whole text, in windows that do not overlap."""
        texts = [request.args[0] for request in requests]
        return [one.log_likelihood for one in text_likelihoods(self._reader, self._scorer, texts)]

    def generate_until(self, requests: Requests) -> list[str]:
        """A text for each (context, settings), by greedy or beam search, up to a stop string.

        Raises:
            InputError: a setting that is not known here, sampling among them, or texts that leave
                no room for their context.
        """
        by_writing: dict[Writing, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            by_writing[self._writing(request.args[1])].append(index)
        texts = [""] * len(requests)
        for writing, indices in by_writing.items():
            room = self._scorer.max_length - writing.max_new_tokens
            contexts = [self._reader.context(requests[i].args[0])[-room:] for i in indices]
            written = write_after(
                self._scorer.pretrained, contexts, writing, batch_size=self._scorer.batch_size
            )
            for index, text in zip(indices, written, strict=True):
                texts[index] = text
        return texts

    def _writing(self, settings: Mapping[str, Any]) -> Writing:
        left = {name: value for name, value in settings.items() if name not in IGNORED}
        stop = left.pop("until", None) or ()
        if left.pop("do_sample", bool(settings.get("temperature"))):
            raise InputError("do_sample is set: prompts are answered by greedy or beam search")
        longest = int(left.pop("max_gen_toks", self._max_new_tokens))
        beams = int(left.pop("num_beams", 1))
        penalty = float(left.pop("length_penalty", 1.0))
        if left:
            raise InputError(f"unknown settings of generation: {', '.join(sorted(left))}")
        stop = (stop,) if isinstance(stop, str) else tuple(stop)
        if longest >= self._scorer.max_length:
            raise InputError(
                f"max_gen_toks {longest} leaves no room for a context: the model reads "
                f"{self._scorer.max_length}"
            )
        return Writing(longest, tuple(s for s in stop if s), beams, penalty)
