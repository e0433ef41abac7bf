"""Losses, predictions and scores of a model on a split."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from flaxformers_edu.sharding import batch_sharding
from train import peers
from train.compiled import CompiledStep
from train.examples import EncodedExamples, Examples
from train.experiment import Decoding
from train.pipeline import Batching, EvaluationBatch, evaluation_batches
from train.placement import on_host, place_whole, rows_multiple
from train.prepare import Run
from train.protocols import carries
from train.step import make_carried_eval_step, make_eval_step, make_predict_step
from train.streams import EVALUATION_STREAMS, evaluation_windows


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples to evaluate on, as they are and as rows of numbers."""

    examples: Examples
    rows: EncodedExamples

    def __len__(self) -> int:
        return len(self.examples)

    def first(self, limit: int | None) -> "Split":
        """The first `limit` examples; all of them for None."""
        if limit is None or limit >= len(self):
            return self
        return Split([self.examples[i] for i in range(limit)], self.rows.of_first(limit))


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


class Evaluator:
    """Evaluates parameters on splits; compiles once a shape.

    With many processes, all of them call it and all get the same numbers and outcomes.
    """

    def __init__(self, run: Run, mesh: Mesh, *, check: Callable[[], None] = lambda: None) -> None:
        """`check` is called before each batch, and may raise to leave."""
        self.run, self.mesh, self._check = run, mesh, check
        experiment = run.experiment
        self.objective = experiment.objective
        self._batching = evaluation_batching(experiment.batching)
        self._collate = self.objective.collate(experiment.model)
        make = make_carried_eval_step if carries(self.objective) else make_eval_step
        self._eval_step = CompiledStep(make(run.model, self.objective))
        if self.objective.predicts and not self.objective.generates:
            self._predict_step = CompiledStep(make_predict_step(run.model, self.objective))

    def loss(self, params: Any, split: Split) -> dict[str, float]:
        """Mean loss over all tokens of the split, and what its counts say."""
        if carries(self.objective):
            return self._measures(self._losses_of_streams(params, split))
        batches = self._batches(split)
        losses = [self._compiled(self._eval_step, params, batch.arrays) for batch in batches]
        return self._measures(losses)

    def predict(self, params: Any, split: Split, decoding: Decoding) -> list[Any]:
        """The outcome of each example, in their order; `decoding` is for those that are texts."""
        if not self.objective.generates:
            return self.assess(params, split)[1]
        found = _Rows(split)
        for batch in self._batches(split):
            # Longer than twice the source is no translation; the cap keeps the cache small.
            longest = 2 * batch.arrays["input_ids"].shape[1]
            predicted = self.objective.predict(
                self.run.model,
                params,
                place_whole(batch.arrays, self.mesh),
                num_beams=decoding.num_beams,
                length_penalty=decoding.length_penalty,
                max_new_tokens=min(decoding.max_new_tokens, longest),
            )
            found.add(batch, predicted)
        return self._outcomes(found, split)

    def assess(self, params: Any, split: Split) -> tuple[dict[str, float], list[Any]]:
        """Mean loss and outcomes, in one pass; for objectives that predict and do not generate."""
        losses, found = [], _Rows(split)
        for batch in self._batches(split):
            loss, predicted = self._compiled(self._predict_step, params, batch.arrays)
            losses.append(loss)
            found.add(batch, predicted)
        return self._measures(losses), self._outcomes(found, split)

    def validate(
        self, params: Any, split: Split, *, generated: int, max_new_tokens: int
    ) -> dict[str, float]:
        """What training looks at: the loss, and the scores of what is predicted.

        Where texts are generated, it is for the first `generated` examples, and greedily.
        """
        if not self.objective.generates:
            return self.scores(params, split)[0]
        found = self.loss(params, split)
        if not generated:
            return found
        some = split.first(generated)
        greedy = Decoding(num_beams=1, max_new_tokens=max_new_tokens)
        return found | self.objective.score(self.predict(params, some, greedy), some.examples)

    def scores(
        self, params: Any, split: Split, decoding: Decoding | None = None
    ) -> tuple[dict[str, float], list[Any]]:
        """Loss and scores of a split, and the outcomes; of generated texts, greedy and by beams.

        An objective that predicts nothing has its loss alone, and no outcomes.
        """
        if not self.objective.predicts:
            return self.loss(params, split), []
        if not self.objective.generates:
            scores, outcomes = self.assess(params, split)
            return scores | self.objective.score(outcomes, split.examples), outcomes
        scores, outcomes = self.loss(params, split), []
        decoding = decoding or Decoding()
        for beams in sorted({1, decoding.num_beams}):
            settings = dataclasses.replace(decoding, num_beams=beams)
            outcomes = self.predict(params, split, settings)
            name = "greedy" if beams == 1 else f"beam{beams}"
            found = self.objective.score(outcomes, split.examples)
            scores |= {f"{metric}_{name}": value for metric, value in found.items()}
        return scores, outcomes

    def _losses_of_streams(self, params: Any, split: Split) -> list[Any]:
        """The loss of each batch; what is remembered goes from each to the next."""
        multiple = rows_multiple(self.mesh)
        rows = -(-EVALUATION_STREAMS // multiple) * multiple
        lies = batch_sharding(self.mesh)
        length = self.run.experiment.batching.max_source_length
        losses, carried = [], self.objective.start(self.run.model, rows)
        for arrays in evaluation_windows(split.rows, self._collate, length, rows):
            self._check()
            with jax.set_mesh(self.mesh):
                carried = jax.tree.map(lambda x: jax.device_put(x, lies), carried)
                loss, carried = self._compiled(self._eval_step, (params, carried), dict(arrays))
            losses.append(loss)
        return losses

    def _compiled(self, step: CompiledStep, state: Any, batch: dict[str, np.ndarray]) -> Any:
        arrays = place_whole(batch, self.mesh)
        if not step.knows(arrays):
            step.compile(state, arrays)
            peers.meet()  # collectives wait for slower compilers, but not long
        return step(state, arrays)

    def _measures(self, losses: list[Any]) -> dict[str, float]:
        total = losses[0]
        for loss in losses[1:]:
            total += loss
        weight = max(float(total.weight), 1.0)
        means = {name: float(value) / weight for name, value in total.counts.items()}
        return self.objective.measures({"loss": float(total.sum) / weight, **means})

    def _outcomes(self, found: "_Rows", split: Split) -> list[Any]:
        return self.objective.outcomes(found.rows, split.rows, split.examples, self.run.tokenizer)

    def _batches(self, split: Split) -> Iterator[EvaluationBatch]:
        batches = evaluation_batches(
            split.rows,
            self._collate,
            self._batching,
            rows_multiple_of=rows_multiple(self.mesh),
            sort_by_length=True,
        )
        for batch in batches:
            self._check()
            with jax.set_mesh(self.mesh):
                yield batch


class _Rows:
    """Predictions of a split's rows, put where they belong."""

    def __init__(self, split: Split) -> None:
        self.rows: list[dict[str, np.ndarray]] = [{} for _ in range(len(split.rows))]

    def add(self, batch: EvaluationBatch, predicted: dict[str, jax.Array]) -> None:
        """The predictions of a batch, whose empty rows are left out."""
        arrays = on_host(predicted)
        for place, index in enumerate(batch.indices):
            self.rows[index] = {name: array[place] for name, array in arrays.items()}
