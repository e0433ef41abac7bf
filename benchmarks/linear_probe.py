"""What a line finds in an encoder that is not trained: logistic regressions on SST-2's few labels.

A thousand labelled phrases, read as the set of their pieces (which needs no encoder but its
tokeniser), as the mean of these pieces' vectors, as the mean of their last states, and as the state
of [CLS]. Fine-tuning has all of that before it: what no reading shows, it has to learn from labels.
How strongly to regularise is chosen on the thousand (5 folds); accuracy is of the published dev
set, over several draws of the thousand.

    export FLAXFORMERS_DATA=...   # a folder that holds glue/SST-2/train.tsv and dev.tsv
    python -m train export runs/pretraining/bert-32 exported/bert     # and so on
    python -m benchmarks.linear_probe exported/scratch exported/bert

Writes benchmarks/results/linear_probe.json and the table in docs/pretraining.md. It needs
scikit-learn, which the extra `parity` brings. Dims: E examples, V vocabulary, D hidden size.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import page
from benchmarks.harness import RESULTS
from benchmarks.pretraining import PAGE
from configs.finetune import sst2_few
from flaxformers_edu.pipelines import Features, pipeline
from train.sources import FewExamples

PIECES, VECTORS, STATES, CLS = (
    "its pieces",
    "mean of their vectors",
    "mean of their states",
    "state of [CLS]",
)
STRENGTHS = [10.0**power for power in range(-4, 2)]
"""Of the weights' prior: sklearn's C."""


def readings(features: Features, texts: list[str]) -> dict[str, np.ndarray]:
    """Each text in the four ways: [E, V] or [E, D]."""
    token_embedding_VD = np.asarray(features.pretrained.params["embeddings"]["token"]["embedding"])
    found: dict[str, list[np.ndarray]] = {name: [] for name in (PIECES, VECTORS, STATES, CLS)}
    for text, states_TD in zip(texts, features(texts), strict=True):
        ids = list(features.tokenizer.pieces(text).ids)
        present_V = np.zeros(len(token_embedding_VD), np.float32)
        present_V[ids] = 1
        found[PIECES].append(present_V)
        found[VECTORS].append(token_embedding_VD[ids].mean(axis=0))
        found[STATES].append(states_TD[1:-1].mean(axis=0))
        found[CLS].append(states_TD[0])
    return {name: np.stack(rows) for name, rows in found.items()}


def accuracy(
    known: np.ndarray, labels: list[str], unknown: np.ndarray, truth: list[str], *, scaled: bool
) -> float:
    """Of the unknown ones, by a regression on the known."""
    regression = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=5,
        max_iter=1000,
        l1_ratios=(0,),
        scoring="accuracy",
        use_legacy_attributes=False,
    )
    model = make_pipeline(StandardScaler(), regression) if scaled else regression
    return float(np.mean(model.fit(known, labels).predict(unknown) == np.asarray(truth)))


def probe(folder: Path, draws: int) -> dict[str, list[float]]:
    """Accuracies by reading, one a draw of the labelled examples."""
    source = sst2_few.config().source
    features = pipeline("feature-extraction", folder, batch_size=32)
    held_out = source.load("validation")
    unknown = readings(features, [example["text"] for example in held_out])
    truth = [example["label"] for example in held_out]
    found: dict[str, list[float]] = {name: [] for name in unknown}
    for seed in range(draws):
        examples = FewExamples(source.source, source.examples, seed).load("train")
        known = readings(features, [example["text"] for example in examples])
        labels = [example["label"] for example in examples]
        for name, numbers in found.items():
            # Counts of pieces are sparse: scaled to unit deviation, the rarest would weigh most.
            scaled = name != PIECES
            numbers.append(accuracy(known[name], labels, unknown[name], truth, scaled=scaled))
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: a row a reading, a column an encoder."""
    encoders = list(found)
    lines = ["| read | " + " | ".join(encoders) + " |", "|---" * (1 + len(encoders)) + "|"]
    for name in next(iter(found.values())):
        cells = [f"{np.mean(f[name]):.3f} ± {np.std(f[name], ddof=1):.3f}" for f in found.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, help="of Hugging Face, named as encoders")
    parser.add_argument("--draws", type=int, default=3, help="of the thousand, at least 2")
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for folder in options.folders:
        found[folder.name] = probe(folder, options.draws)
        print(folder.name, found[folder.name], flush=True)
    (RESULTS / "linear_probe.json").write_text(json.dumps(found, indent=2) + "\n")
    page.fill(PAGE, "probe", table(found))


if __name__ == "__main__":
    main()
