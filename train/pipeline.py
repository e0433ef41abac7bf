"""Batches as a pure function of (seed, step).

Nothing here has a state to save: batch `step` is computed from the seed and the step alone, so a
run resumed anywhere sees what it would have seen, and the global batch does not depend on how
many processes share it.

    examples = encode_examples(source, encode, batching)  # once, up front: train/encoding.py
    data = TrainData(examples, collate, batching, seed=0, rows_multiple_of=8)
    for step, batch in enumerate(data.iterate(start_step), start_step): ...
"""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.text.batching import (
    Batch,
    bucket_boundaries,
    lengths_of_examples,
    pack,
    plan_epoch,
    rows_of_bucket,
)
from train.examples import EncodedExamples
from train.ramp import Ramp

Arrays = dict[str, np.ndarray]
# What the objective passes in: (examples, or groups of examples when packing; rows; length).
Collate = Callable[[Sequence[Any], int, int], Arrays]

OVER_LENGTH = ("error", "truncate", "drop", "split")
KEPT_PLANS = 2  # this epoch's and the next one's, which prefetching threads already need


@dataclass(frozen=True)
class Batching:
    """How examples become batches."""

    tokens_per_batch: int = 4096
    """Budget of a batch: rows x length of one side, padding included, over all devices."""
    max_source_length: int = 128
    """Most tokens of a source, its end token included."""
    max_target_length: int = 0
    """Most tokens of a target, its end token included; 0: as many as of a source."""
    bucket_multiple: int = 8
    """Lengths of buckets are multiples of this (but for the longest)."""
    buckets: tuple[int, ...] = ()
    """Lengths of the buckets, ascending; empty derives them from bucket_multiple."""
    packing: bool = False
    """Put several examples in a row, kept apart by segment ids, instead of bucketing."""
    over_length: Literal["error", "truncate", "drop", "split"] = "error"
    """What happens to an example over the maximum: error, truncate (keeping its last token), drop
    (the number dropped is reported) or split (a text without a target becomes several). Objectives
    whose rows have more than ids and labels cut them to the maximum themselves."""
    ramp_start_tokens: int = 0
    """Budget of the first batches, which doubles until tokens_per_batch is reached; 0: no ramp."""
    ramp_steps: int = 0
    """Steps before the batch is full; every size lasts for as many of them."""

    def __post_init__(self) -> None:
        """Raise InputError for a field that cannot be."""
        if self.over_length not in OVER_LENGTH:
            raise unknown_name("over_length", self.over_length, OVER_LENGTH)
        for name in ("tokens_per_batch", "max_source_length", "bucket_multiple"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_target_length < 0:
            raise InputError(f"max_target_length must not be negative: {self.max_target_length}")
        if self.buckets and (min(self.buckets) < 1 or max(self.buckets) < self.max_length):
            raise InputError(
                f"buckets={self.buckets} must be positive and reach the maximum length, "
                f"{self.max_length}"
            )

        if self.ramp_start_tokens or self.ramp_steps:
            self._check_ramp()

    def _check_ramp(self) -> None:
        start, steps, full = self.ramp_start_tokens, self.ramp_steps, self.tokens_per_batch
        if start < 1 or steps < 1:
            raise InputError(
                "a ramp needs ramp_start_tokens and ramp_steps of at least 1 (or both 0 for none), "
                f"got ramp_start_tokens={start} and ramp_steps={steps}"
            )
        times = full // start
        if full % start or times < 2 or times.bit_count() != 1:
            raise InputError(
                f"tokens_per_batch={full} must be ramp_start_tokens={start} times 2, 4, 8, ..."
            )
        if steps < times.bit_length() - 1:
            raise InputError(
                f"ramp_steps={steps} must be at least {times.bit_length() - 1}, the doublings from "
                f"ramp_start_tokens={start} to tokens_per_batch={full}"
            )
        if len(self.lengths) > 1:
            raise InputError(
                f"a ramp needs rows of one length: set packing, or buckets to ({self.max_length},)"
            )

    @property
    def ramp(self) -> Ramp:
        """How the batch grows."""
        if not self.ramp_start_tokens:
            return Ramp()
        return Ramp(self.tokens_per_batch // self.ramp_start_tokens, self.ramp_steps)

    @property
    def max_length(self) -> int:
        """Most tokens of either side."""
        return max(self.max_source_length, self.max_target_length)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of rows that batches may have."""
        if self.packing:
            return (self.max_length,)
        return tuple(sorted(self.buckets)) or bucket_boundaries(
            self.max_length, self.bucket_multiple
        )


class Batches:
    """Batches by step."""

    def batch_at(self, step: int) -> Arrays:
        """This process's rows of batch `step`: name -> array [rows / process_count, ...]."""
        raise NotImplementedError

    def iterate(
        self,
        start_step: int = 0,
        stop_step: int | None = None,
        *,
        num_threads: int = 2,
        prefetch: int = 8,
    ) -> Iterator[Arrays]:
        """Batches start_step, start_step + 1, ... made ahead of time by grain's threads."""
        import grain  # a second to import, which `--help` need not wait for

        stop_step = sys.maxsize if stop_step is None else stop_step
        options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
        dataset = grain.MapDataset.range(start_step, stop_step).map(self.batch_at)
        return iter(dataset.to_iter_dataset(options))


class TrainData(Batches):
    """Training batches by step: endless, reshuffled every epoch, the same after every resume."""

    def __init__(
        self,
        examples: EncodedExamples,
        collate: Collate,
        batching: Batching,
        *,
        seed: int,
        rows_multiple_of: int = 1,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        """Plan the first epoch.

        collate: (examples or, when packing, groups of examples; rows; length) -> arrays.
        rows_multiple_of: of a global batch (with a ramp, of the smallest); the number of devices
        that share it, at least.
        Raises InputError where a batch cannot be formed, or its rows cannot be split evenly among
        the processes.
        """
        if not 0 <= process_index < process_count:
            raise ValueError(f"process_index={process_index} is not below {process_count}")
        self.examples = examples
        self.collate = collate
        self.batching = batching
        self.seed = seed
        self.rows_multiple_of = rows_multiple_of
        self.process_index = process_index
        self.process_count = process_count
        self._lengths = examples.lengths
        self._groups: list[np.ndarray] = []
        if batching.packing:
            # Packed once: which examples share a row does not matter, they do not see each
            # other, and so every epoch has the same number of batches.
            if seed < 0:
                raise InputError(f"seed must not be negative, got seed={seed}")
            order = np.random.default_rng([seed]).permutation(len(examples))
            groups = pack(self._lengths[order], batching.max_length)
            self._groups = [order[group] for group in groups]
            self._lengths = np.full(len(groups), batching.max_length)
        self._plans: dict[int, list[Batch]] = {}
        self._lock = threading.Lock()
        plan = self._plan(0)
        self._units_per_epoch = len(plan)
        self.steps_per_epoch: int = -(-len(plan) // batching.ramp.full)
        """Full batches of an epoch, the same for every epoch."""
        self.shapes: tuple[tuple[int, int], ...] = tuple(
            sorted(
                {
                    (batch.indices.size * multiple, batch.bucket)
                    for batch in plan
                    for multiple in batching.ramp.multiples
                }
            )
        )
        """The distinct (rows, length) of global batches: a training step compiles once for each."""
        for rows, length in self.shapes:
            if rows % process_count:
                raise InputError(
                    f"batches of {rows} rows of {length} tokens do not divide among "
                    f"{process_count} processes"
                )

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """All, and a new lock."""
        vars(self).update(state)
        self._lock = threading.Lock()

    def _plan(self, epoch: int) -> list[Batch]:
        with self._lock:
            if epoch not in self._plans:
                self._plans[epoch] = plan_epoch(
                    self._lengths,
                    buckets=self.batching.lengths,
                    tokens_per_batch=self.batching.ramp_start_tokens
                    or self.batching.tokens_per_batch,
                    seed=self.seed,
                    epoch=epoch,
                    rows_multiple_of=self.rows_multiple_of,
                )
                while len(self._plans) > KEPT_PLANS:
                    del self._plans[next(iter(self._plans))]
            return self._plans[epoch]

    def global_batch(self, step: int) -> Batch:
        """Which examples (or packed groups) batch `step` holds, over all processes.

        With a ramp, as many consecutive units of the plan as make its size: the end of an epoch and
        the beginning of the next may share a batch, and every epoch has every example once.
        """
        ramp = self.batching.ramp
        first = ramp.units_before(step)
        units = []
        for unit in range(first, first + ramp.multiple_at(step)):
            epoch, position = divmod(unit, self._units_per_epoch)
            units.append(self._plan(epoch)[position])
        indices = np.concatenate([unit.indices for unit in units])
        indices = indices[np.argsort(indices < 0, kind="stable")]  # empty rows come last
        return Batch(indices, units[0].bucket)

    def epochs_before(self, step: int) -> float:
        """How often the batches before `step` have been through all examples."""
        return self.batching.ramp.units_before(step) / self._units_per_epoch

    def parts_of_rows(self, accumulation: int) -> Callable[[int], int]:
        """Rows of a global batch -> the parts it is split into, if a full one has `accumulation`.

        While a ramp is under way, a part keeps its shape, as long as there is more than one.
        """
        ramp, (fewest, _) = self.batching.ramp, self.shapes[0]
        if ramp.full == 1:
            return lambda _: accumulation
        return lambda rows: ramp.parts(accumulation, rows // fewest)

    def batch_at(self, step: int) -> Arrays:
        """This process's rows of batch `step`: name -> array [rows / process_count, ...]."""
        batch = self.global_batch(step)
        rows = batch.indices.size // self.process_count
        mine = batch.indices[self.process_index * rows : (self.process_index + 1) * rows]
        mine = mine[mine >= 0]  # empty rows come last
        if self.batching.packing:
            chosen: list[Any] = [[self.examples[i] for i in self._groups[group]] for group in mine]
        else:
            chosen = [self.examples[i] for i in mine]
        return self.collate(chosen, rows, batch.bucket)


@dataclass(frozen=True)
class EvaluationBatch:
    """A batch to evaluate on."""

    arrays: Arrays
    """All rows, in every process: evaluation is small, and predictions come back row by row."""
    indices: np.ndarray
    """Which example each real row holds, [count]."""
    count: int
    """Real rows; the rest are empty."""


def evaluation_batches(
    examples: EncodedExamples,
    collate: Collate,
    batching: Batching,
    *,
    rows_multiple_of: int = 1,
    sort_by_length: bool = False,
) -> Iterator[EvaluationBatch]:
    """Every example once, in order, in batches of one number of rows and lengths of the buckets.

    A batch takes the shortest bucket that holds all its examples; the last one is filled up
    with empty rows. `sort_by_length` takes the longest first, which pads less: `indices` tells
    where each row belongs. `collate` is the unpacked one.
    """
    longest_N = lengths_of_examples(examples.lengths)
    buckets = batching.lengths
    if longest_N.max() > buckets[-1]:
        index = int(longest_N.argmax())
        raise InputError(
            f"example {index} has {longest_N[index]} tokens, more than the maximum, {buckets[-1]}"
        )
    rows = rows_of_bucket(buckets[-1], batching.tokens_per_batch, rows_multiple_of)
    order = np.arange(len(examples))
    if sort_by_length:
        order = np.argsort(-longest_N, kind="stable")
    for start in range(0, len(order), rows):
        indices = order[start : start + rows]
        length = buckets[int(np.searchsorted(buckets, longest_N[indices].max()))]
        arrays = collate([examples[i] for i in indices], rows, length)
        yield EvaluationBatch(arrays, indices, len(indices))
