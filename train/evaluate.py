"""Losses and predictions of a model on a split, and the command `evaluate`."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape, batch_sharding
from train import peers
from train.checkpoint import Checkpoints
from train.compiled import CompiledStep
from train.experiment import Decoding
from train.log import write_atomically
from train.pipeline import Batching, EncodedExamples, EvaluationBatch, evaluation_batches
from train.prepare import Examples, Run, open_finished
from train.state import abstract_params, abstract_state
from train.step import make_eval_step


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples to evaluate on, as they are and as token ids, index by index."""

    examples: Examples
    ids: EncodedExamples

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, limit: int | None) -> "Split":
        """The first `limit` examples; all of them for None."""
        n = len(self) if limit is None else min(limit, len(self))
        columns = {
            name: (ids[: offsets[n]], offsets[: n + 1])
            for name, (ids, offsets) in self.ids.columns.items()
        }
        return Split([self.examples[i] for i in range(n)], EncodedExamples(columns))

    @property
    def references(self) -> list[str]:
        """The texts that predictions are compared with."""
        return [self.examples[i]["target"] for i in range(len(self))]


def encode_split(run: Run, examples: Examples) -> Split:
    """Encodes a split for evaluation: nothing is dropped, for every example gets a prediction.

    Raises:
        InputError: an example is over the maximum length, where batching does not allow it.
    """
    return Split(examples, run.encode(examples, evaluation_batching(run.experiment.batching)))


def evaluation_batching(batching: Batching) -> Batching:
    """Few, coarse shapes: every shape of a search is a program to compile."""
    buckets = [batching.max_length]
    while buckets[0] > 32:
        buckets.insert(0, -(-buckets[0] // 2))
    return dataclasses.replace(
        batching,
        packing=False,
        ramp_start_tokens=0,
        ramp_steps=0,
        buckets=tuple(buckets),
        over_length="truncate" if batching.over_length == "drop" else batching.over_length,
        tokens_per_batch=64 * batching.max_length,
    )


def rows_multiple(mesh: Mesh) -> int:
    """What the rows of a batch must be a multiple of."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def rows_of_process(mesh: Mesh) -> tuple[int, int]:
    """Which part of a batch's rows this process holds, of how many parts: for TrainData.

    Processes share a part where an axis of the mesh other than the batch's runs across them.

    Raises:
        InputError: the rows of two processes overlap without being the same.
    """
    blocks: dict[int, set[int]] = {}
    everywhere: Any = batch_sharding(mesh).devices_indices_map((rows_multiple(mesh),))
    for device, (rows,) in everywhere.items():
        blocks.setdefault(device.process_index, set()).add(rows.indices(rows_multiple(mesh))[0])
    parts = sorted(set(map(frozenset, blocks.values())), key=min)
    if sum(map(len, parts)) != rows_multiple(mesh) or len(set(map(len, parts))) > 1:
        raise InputError(
            f"the mesh gives the processes unequal rows of a batch ({len(blocks)} processes, "
            f"mesh.data x mesh.fsdp = {rows_multiple(mesh)}): let one divide the other"
        )
    return parts.index(frozenset(blocks[jax.process_index()])), len(parts)


def place(rows: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """A process's rows as part of the global batch on the mesh."""
    sharding = batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in rows.items()}


def place_whole(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """A batch that every process holds whole: each device takes its rows of it."""
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, array, array.shape)
        for name, array in batch.items()
    }


def on_host(tree: Any) -> Any:
    """Arrays in the memory of every process, whichever devices hold their parts."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    return process_allgather(tree, tiled=True)


class Evaluator:
    """Evaluates parameters on splits; compiles once a shape.

    With many processes, all of them call it and all get the same numbers and predictions.
    """

    def __init__(self, run: Run, mesh: Mesh, *, check: Callable[[], None] = lambda: None) -> None:
        """`check` is called before each batch, and may raise to leave."""
        self.run, self.mesh, self._check = run, mesh, check
        experiment = run.experiment
        self._batching = evaluation_batching(experiment.batching)
        self._collate = experiment.objective.collate(experiment.model)
        self._eval_step = CompiledStep(make_eval_step(run.model, experiment.objective))

    def loss(self, params: Any, split: Split) -> dict[str, float]:
        """Mean loss over all tokens of the split, and what its counts say."""
        losses = []
        for evaluation_batch in self._batches(split):
            batch = place_whole(evaluation_batch.arrays, self.mesh)
            if not self._eval_step.knows(batch):
                self._eval_step.compile(params, batch)
                peers.meet()  # collectives wait for slower compilers, but not long
            losses.append(self._eval_step(params, batch))
        total = losses[0]
        for loss in losses[1:]:
            total += loss
        weight = max(float(total.weight), 1.0)
        means = {name: float(value) / weight for name, value in total.counts.items()}
        found = {"loss": float(total.sum) / weight, **means}
        return self.run.experiment.objective.measures(found)

    def predict(self, params: Any, split: Split, decoding: Decoding) -> list[str]:
        """A prediction for each example, in their order."""
        found = [""] * len(split)
        experiment, tokenizer = self.run.experiment, self.run.tokenizer
        for batch in self._batches(split):
            # Longer than twice the source is no translation; the cap keeps the cache small.
            longest = 2 * batch.arrays["input_ids"].shape[1]
            ids = experiment.objective.predict(
                self.run.model,
                params,
                place_whole(batch.arrays, self.mesh),
                num_beams=decoding.num_beams,
                length_penalty=decoding.length_penalty,
                max_new_tokens=min(decoding.max_new_tokens, longest),
            )
            rows = on_host(ids)[: batch.count]
            for index, row in zip(batch.indices, rows, strict=True):
                found[index] = tokenizer.decode(row.tolist())
        return found

    def scores(
        self, params: Any, split: Split, decoding: Decoding
    ) -> tuple[dict[str, float], list[str]]:
        """Loss, greedy and beam scores of a split, and the beam's predictions.

        An objective that does not generate has its loss alone, and no predictions.
        """
        scores = self.loss(params, split)
        predictions: list[str] = []
        generates = self.run.experiment.objective.generates
        for beams in sorted({1, decoding.num_beams}) if generates else ():
            settings = dataclasses.replace(decoding, num_beams=beams)
            predictions = self.predict(params, split, settings)
            found = self.run.experiment.objective.score(predictions, split.references)
            name = "greedy" if beams == 1 else f"beam{beams}"
            scores |= {f"{metric}_{name}": value for metric, value in found.items()}
        return scores, predictions

    def _batches(self, split: Split) -> Iterator[EvaluationBatch]:
        batches = evaluation_batches(
            split.ids,
            self._collate,
            self._batching,
            rows_multiple_of=rows_multiple(self.mesh),
            sort_by_length=True,
        )
        for batch in batches:
            self._check()
            with jax.set_mesh(self.mesh):
                yield batch


def params_shapes(run: Run) -> Any:
    """Shapes of a run's parameters."""
    return nn.meta.unbox(abstract_params(run.model))


def open_checkpoints(run: Run, *, read_only: bool = False) -> Checkpoints:
    """The run's checkpoints, the best judged by what it evaluates."""
    experiment = run.experiment
    scored = experiment.eval_examples > 0 or not experiment.objective.generates
    if read_only and not (run.workdir / "checkpoints").is_dir():
        raise InputError(f"{run.workdir} holds no checkpoints: train it first")
    return Checkpoints(
        run.workdir,
        metric=experiment.objective.metric if scored else "loss",
        higher_is_better=experiment.objective.higher_is_better if scored else False,
        keep_last=experiment.keep_last,
        keep_every=experiment.keep_every,
        read_only=read_only,
    )


def load_params(run: Run, which: str, mesh: Mesh) -> tuple[Any, int]:
    """The parameters to evaluate of a checkpoint ("best", "last" or a step), and its step."""
    experiment = run.experiment
    learning_rate = experiment.schedule.build(experiment.steps)
    optimizer = experiment.optimizer.build(learning_rate, params_shapes(run))
    with open_checkpoints(run, read_only=True) as checkpoints:
        step = checkpoints.choose(which)
        abstract = abstract_state(run.model, optimizer, mesh, **experiment.state_parts)
        return checkpoints.restore(step, abstract).eval_params, step


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

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit is {self.limit}; it must be at least 1")


def evaluate(workdir: Path, options: Evaluate) -> int:
    """The command: prints one JSON object, and keeps it in DIR/evaluation-SPLIT.json."""
    run = open_finished(workdir)
    decoding = decoding_of(run, options)
    split = encode_split(run, run.experiment.source.load(options.split)).first(options.limit)
    mesh = MeshShape().build(jax.devices()[:1])
    params, step = load_params(run, options.checkpoint, mesh)
    scores, predictions = Evaluator(run, mesh).scores(params, split, decoding)
    text = json.dumps({"split": options.split, "step": step, **scores}, ensure_ascii=False)
    print(text)
    if options.output is not None:
        options.output.write_text("\n".join(predictions) + "\n", encoding="utf-8")
    write_atomically(workdir / f"evaluation-{options.split}.json", text + "\n")
    return 0


def decoding_of(run: Run, options: Any) -> Decoding:
    """The experiment's decoding with what the command line says instead.

    Raises:
        InputError: a value that cannot be.
    """
    names = [field.name for field in dataclasses.fields(Decoding)]
    given: dict[str, Any] = {name: getattr(options, name, None) for name in names}
    said = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(run.experiment.decoding, **said)
