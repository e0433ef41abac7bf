"""A corpus as parallel streams, for objectives that carry state from batch to batch.

All texts, one after the other, are cut into as many equal parts as a batch has rows. Row b of a
batch is the next window of part b, so that it goes on where row b of the batch before ended
(truncated backpropagation through time). Windows may differ in length; arrays do not, and what is
left of them is padding.

Still a pure function of (seed, step): each epoch orders the texts and draws the windows' lengths
anew from the seed and its number, and a batch's place is the sum of the lengths before it.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError
from train.examples import EncodedExamples
from train.pipeline import KEPT_PLANS, Arrays, Batches, Batching, Collate

DrawLengths = Callable[[np.random.Generator, int, int], np.ndarray]
"""(rng, longest, number) -> lengths of so many windows in turn."""
EVALUATION_STREAMS = 8
"""Streams of a corpus that is evaluated, whatever the mesh (of up to as many devices): each but the
first begins without what is before it."""


class Streams:
    """Texts in an order, cut into equal parts."""

    def __init__(self, examples: EncodedExamples, order: np.ndarray, rows: int) -> None:
        """Raises InputError for columns that do not run side by side."""
        self._columns, self._tables, self._order = examples.columns, examples.tables, order
        lengths = [np.diff(offsets) for _, offsets in self._columns.values()]
        if any((other != lengths[0]).any() for other in lengths[1:]):
            raise InputError(f"columns of a stream are of one length: {sorted(self._columns)}")
        self._ends: np.ndarray = np.cumsum(lengths[0][order])
        total = int(self._ends[-1])
        self._total = total
        self.length: int = -(-total // rows)
        """Tokens of a stream; of the last ones it may be fewer."""

    def windows(self, start: int, stop: int, rows: range) -> list[dict[str, Any]]:
        """Places start to stop of some of the streams.

        For each: the columns with one value more than the window has, where there is one, so
        that the last token knows what comes next; "length", of the window; "begins", 1 where
        nothing of this stream is before it.
        """
        return [self._window(row, start, min(stop, self.length)) for row in rows]

    def _window(self, row: int, start: int, stop: int) -> dict[str, Any]:
        first = min(row * self.length + start, self._total)
        last = min(row * self.length + stop, self._total)
        values = self._between(first, min(last + 1, self._total))
        return {**values, "length": last - first, "begins": int(start == 0)}

    def _between(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Tokens first to last of all, from the texts that they lie in."""
        found: dict[str, list[np.ndarray]] = {name: [] for name in self._columns}
        text = int(np.searchsorted(self._ends, first, side="right"))
        while first < last:
            index = self._order[text]
            for name, (values, offsets) in self._columns.items():
                begin = offsets[index + 1] - (self._ends[text] - first)
                found[name].append(values[begin : min(offsets[index + 1], begin + last - first)])
            first = int(self._ends[text])
            text += 1
        joined: dict[str, np.ndarray] = {
            name: np.concatenate(parts) if parts else self._columns[name][0][:0]
            for name, parts in found.items()
        }
        return joined | {name: table[joined[name]] for name, table in self._tables.items()}


class StreamData(Batches):
    """Training batches by step, as `TrainData`, in which each row follows that of the step before.

    The carried state of a row begins anew with every epoch.
    """

    def __init__(
        self,
        examples: EncodedExamples,
        collate: Collate,
        batching: Batching,
        *,
        lengths: DrawLengths,
        seed: int,
        rows_multiple_of: int = 1,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        """Plan the first epoch.

        lengths: what draws the windows' lengths; the other arguments are those of `TrainData`.
        Raises InputError where the streams do not divide among devices and parts of a batch, or
        there are more of them than tokens.
        """
        self.examples, self.collate, self.batching = examples, collate, batching
        self.capacity = batching.max_source_length
        self.rows = check_streams(batching, rows_multiple_of)
        self.process_index, self.process_count = process_index, process_count
        self.shapes: tuple[tuple[int, int], ...] = ((self.rows, self.capacity),)
        """The one shape of batches."""
        self._draw, self._seed = lengths, seed
        self._epochs: list[tuple[int, np.ndarray]] = []
        self._streams: dict[int, Streams] = {}
        self._lock = threading.Lock()
        total = int(examples.lengths.sum())
        if total <= self.rows:
            raise InputError(
                f"the training data has {total} tokens, too few for {self.rows} streams: lower "
                "batching.tokens_per_batch"
            )
        self._length = -(-total // self.rows)
        self.steps_per_epoch: int = len(self._starts(0)[1])
        """Batches of the first epoch; where lengths are random, others differ a little."""

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """All, and a new lock."""
        vars(self).update(state)
        self._lock = threading.Lock()

    def epochs_before(self, step: int) -> float:
        """How often the batches before `step` have been through all examples."""
        epoch, start, _ = self.place(step)
        return epoch + start / self._length

    def parts_of_rows(self, accumulation: int) -> Callable[[int], int]:
        """Rows of a global batch -> the parts it is split into."""
        return lambda _: accumulation

    def place(self, step: int) -> tuple[int, int, int]:
        """Epoch of batch `step`, and where in each stream its windows start and stop."""
        epoch = 0
        with self._lock:
            while step >= (found := self._starts(epoch))[0] + len(found[1]):
                epoch += 1
        first_step, starts = found
        number = step - first_step
        stop = starts[number + 1] if number + 1 < len(starts) else self._length
        return epoch, int(starts[number]), int(stop)

    def batch_at(self, step: int) -> Arrays:
        """This process's rows of batch `step`: name -> array [rows / process_count, ...]."""
        epoch, start, stop = self.place(step)
        rows = self.rows // self.process_count
        mine = range(self.process_index * rows, (self.process_index + 1) * rows)
        windows = self._streams_of(epoch).windows(start, stop, mine)
        return self.collate(windows, rows, self.capacity)

    def _starts(self, epoch: int) -> tuple[int, np.ndarray]:
        """The first step of an epoch, and where its windows start."""
        while len(self._epochs) <= epoch:
            number = len(self._epochs)
            rng = np.random.default_rng([self._seed, number, 1])
            starts: np.ndarray = np.zeros(1, np.int64)
            while starts[-1] < self._length:
                drawn = np.asarray(self._draw(rng, self.capacity, 1024), np.int64)
                starts = np.concatenate([starts, starts[-1] + np.cumsum(drawn)])
            first = 0
            if number:
                before, earlier = self._epochs[-1]
                first = before + len(earlier)
            self._epochs.append((first, starts[starts < self._length]))
        return self._epochs[epoch]

    def _streams_of(self, epoch: int) -> Streams:
        """The texts in the order of an epoch."""
        with self._lock:
            if epoch not in self._streams:
                order = np.random.default_rng([self._seed, epoch]).permutation(len(self.examples))
                self._streams[epoch] = Streams(self.examples, order, self.rows)
                while len(self._streams) > KEPT_PLANS:
                    del self._streams[next(iter(self._streams))]
            return self._streams[epoch]


def check_streams(batching: Batching, multiple: int) -> int:
    """Streams of a batch, which is to divide by `multiple`.

    Raises:
        InputError: it does not.
    """
    rows = batching.tokens_per_batch // batching.max_source_length
    if rows % multiple:
        raise InputError(
            f"batching.tokens_per_batch / max_source_length are {rows} streams, and devices and "
            f"accumulation share them in {multiple}: make it a multiple of that"
        )
    return rows


def evaluation_windows(
    examples: EncodedExamples, collate: Collate, length: int, rows: int
) -> Iterator[Mapping[str, np.ndarray]]:
    """Every text once, in order, as the batches of `rows` streams: windows of `length`."""
    streams = Streams(examples, np.arange(len(examples)), rows)
    for start in range(0, streams.length, length):
        yield collate(streams.windows(start, start + length, range(rows)), rows, length)
