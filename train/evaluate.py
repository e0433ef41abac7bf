"""Losses and predictions of a model on examples, and the command `evaluate`."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape, batch_sharding
from train.checkpoint import Checkpoints
from train.experiment import Decoding
from train.log import write_atomically
from train.pipeline import Batching, EncodedExamples, evaluation_batches
from train.prepare import Run, open_finished
from train.state import abstract_state
from train.step import make_eval_step


def evaluation_batching(batching: Batching) -> Batching:
    """Few, coarse shapes: every shape of a search is a program to compile.

    Nothing is dropped: a prediction for every example is the point.
    """
    buckets = [batching.max_length]
    while buckets[0] > 32:
        buckets.insert(0, -(-buckets[0] // 2))
    return dataclasses.replace(
        batching,
        packing=False,
        buckets=tuple(buckets),
        over_length="truncate" if batching.over_length == "drop" else batching.over_length,
        tokens_per_batch=64 * batching.max_length,
    )


def rows_multiple(mesh: Mesh) -> int:
    """What the rows of a batch must be a multiple of."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def place(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """A process's rows as part of the global batch on the mesh."""
    sharding = batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


class Evaluator:
    """Evaluates parameters on one split; compiles once."""

    def __init__(self, run: Run, mesh: Mesh, examples: EncodedExamples) -> None:
        self.run, self.mesh, self.examples = run, mesh, examples
        experiment = run.experiment
        self.batching = evaluation_batching(experiment.batching)
        self.collate = experiment.objective.collate(experiment.model)
        self._eval_step = make_eval_step(run.model, experiment.objective)

    def _batches(self, examples: EncodedExamples) -> Any:
        return evaluation_batches(
            examples,
            self.collate,
            self.batching,
            rows_multiple_of=rows_multiple(self.mesh),
            sort_by_length=True,
        )

    def loss(self, params: Any) -> dict[str, float]:
        """Mean loss over all tokens of the split, and the counts that go with it."""
        total = None
        with jax.set_mesh(self.mesh):
            for batch in self._batches(self.examples):
                loss = self._eval_step(params, place(batch.arrays, self.mesh))
                total = loss if total is None else total + loss
        weight = max(float(total.weight), 1.0)
        means = {name: float(value) / weight for name, value in total.counts.items()}
        return {"loss": float(total.sum) / weight, **means}

    def predict(self, params: Any, decoding: Decoding, limit: int | None = None) -> list[str]:
        """A prediction for each of the first `limit` examples, in their order."""
        examples = self.examples if limit is None else first(self.examples, limit)
        found: list[str] = [""] * len(examples)
        experiment, tokenizer = self.run.experiment, self.run.tokenizer
        with jax.set_mesh(self.mesh):
            for batch in self._batches(examples):
                # Longer than twice the source is no translation; the cap keeps the cache small.
                longest = 2 * batch.arrays["input_ids"].shape[1]
                ids = experiment.objective.predict(
                    self.run.model,
                    params,
                    batch.arrays,
                    num_beams=decoding.num_beams,
                    length_penalty=decoding.length_penalty,
                    max_new_tokens=min(decoding.max_new_tokens, longest),
                )
                rows = np.asarray(ids)[: batch.count]
                for index, row in zip(batch.indices, rows, strict=True):
                    found[index] = tokenizer.decode(row.tolist())
        return found


def first(examples: EncodedExamples, limit: int) -> EncodedExamples:
    """The first `limit` examples."""
    n = min(limit, len(examples))
    columns = {
        name: (ids[: offsets[n]], offsets[: n + 1])
        for name, (ids, offsets) in examples.columns.items()
    }
    return EncodedExamples(columns)


def references(split: Sequence[dict[str, Any]], limit: int | None = None) -> list[str]:
    """The texts that predictions are compared with."""
    return [split[i]["target"] for i in range(min(limit or len(split), len(split)))]


def load_params(run: Run, which: str, mesh: Mesh) -> tuple[Any, int]:
    """The parameters to evaluate of a checkpoint ("best", "last" or a step), and its step."""
    experiment = run.experiment
    optimizer = experiment.optimizer.build(
        experiment.schedule.build(experiment.steps), abstract_of(run)
    )
    with open_checkpoints(run, read_only=True) as checkpoints:
        step = checkpoints.choose(which)
        abstract = abstract_state(run.model, optimizer, mesh, ema=experiment.ema_decay > 0)
        return checkpoints.restore(step, abstract).eval_params, step


def abstract_of(run: Run) -> Any:
    """Shapes of a run's parameters."""
    import flax.linen as nn

    from train.state import abstract_params

    return nn.meta.unbox(abstract_params(run.model))


def open_checkpoints(run: Run, *, read_only: bool = False) -> Checkpoints:
    """The run's checkpoints, the best judged by what it evaluates."""
    experiment = run.experiment
    scored = experiment.eval_examples > 0
    if read_only and not (run.workdir / "checkpoints").is_dir():
        raise InputError(f"{run.workdir} holds no checkpoints: train it first")
    return Checkpoints(
        run.workdir,
        metric=experiment.objective.metric if scored else "loss",
        higher_is_better=experiment.objective.higher_is_better if scored else False,
        keep_last=experiment.keep_last,
        read_only=read_only,
    )


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Scores a run's predictions on a split."""

    split: str = "test"
    """train, validation or test."""
    checkpoint: str = "best"
    """best, last, or a step."""
    num_beams: int | None = None
    """Beam width; the experiment's when not given. Greedy is reported beside it."""
    length_penalty: float | None = None
    """Exponent on the length; the experiment's when not given."""
    limit: int | None = None
    """Only the first so many examples."""
    output: Path | None = None
    """File for the predictions, one a line."""


def evaluate(workdir: Path, options: Evaluate) -> int:
    """The command: prints one JSON object, and keeps it in DIR/evaluation-SPLIT.json."""
    run = open_finished(workdir)
    split = run.experiment.source.load(options.split)
    mesh = MeshShape().build(jax.devices()[:1])
    params, step = load_params(run, options.checkpoint, mesh)
    result = {"split": options.split, "step": step}
    scores, hypotheses = score_split(
        run, mesh, params, split, decoding_of(run, options), limit=options.limit
    )
    result |= scores
    if options.output is not None:
        options.output.write_text("\n".join(hypotheses) + "\n", encoding="utf-8")
    text = json.dumps(result, ensure_ascii=False)
    write_atomically(workdir / f"evaluation-{options.split}.json", text + "\n")
    print(text)
    return 0


def decoding_of(run: Run, options: Any) -> Decoding:
    """The experiment's decoding with what the command line says instead."""
    given = {
        name: getattr(options, name)
        for name in ("num_beams", "length_penalty", "max_new_tokens")
        if getattr(options, name, None) is not None
    }
    return dataclasses.replace(run.experiment.decoding, **given)


def score_split(
    run: Run,
    mesh: Mesh,
    params: Any,
    split: Sequence[dict[str, Any]],
    decoding: Decoding,
    *,
    limit: int | None = None,
) -> tuple[dict[str, float], list[str]]:
    """Loss, greedy and beam scores of a split, and the beam's predictions."""
    experiment = run.experiment
    examples = run.encode(split, evaluation_batching(experiment.batching))
    if limit is not None:
        examples = first(examples, limit)
    evaluator = Evaluator(run, mesh, examples)
    scores = dict(evaluator.loss(params))
    wanted = references(split, limit)
    hypotheses: list[str] = []
    for beams in sorted({1, decoding.num_beams}):
        settings = dataclasses.replace(decoding, num_beams=beams)
        hypotheses = evaluator.predict(params, settings)
        name = "greedy" if beams == 1 else f"beam{beams}"
        found = experiment.objective.score(hypotheses, wanted)
        scores |= {f"{metric}_{name}": value for metric, value in found.items()}
    return scores, hypotheses
