"""The run, from top to bottom: check, prepare, restore or begin, train, score, report."""

import contextlib
import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flaxformers_edu.sharding import check_lengths
from train import averaging, initial, patience, peers
from train.assemble import assemble
from train.checkpoint import steps_in
from train.compiled import CompiledStep
from train.describe import described, shown
from train.evaluate import Evaluator, encode_split
from train.experiment import Experiment
from train.lock import held
from train.log import METRICS, NoLog, RunLog, finished_at
from train.measure import Work, peak_of
from train.pipeline import TrainData
from train.placement import check_rows, on_host, place, rows_multiple, rows_of_process
from train.prepare import check_folder, open_for_training, write_config
from train.profiling import Profiler
from train.restore import open_checkpoints
from train.saved import to_json
from train.splits import load_splits
from train.step import key_of
from train.streams import StreamData
from train.summary import write_summary
from train.watch import CHECKED, BadStep, Meter, Stopped, StopSignal

DONE, BAD_STEP = 0, 3


def run(experiment: Experiment, workdir: Path, *, resume: str = "newest") -> int:
    """Trains, evaluates and reports; goes on where the newest checkpoint of `workdir` stands.

    `resume="previous"` sets the newest checkpoint aside if it is damaged, and goes on from the one
    before; otherwise a damaged one is refused. With many processes, all call this, and process 0
    alone writes all but its shards of the checkpoints.

    Returns:
        The exit status: 0 done; 3 loss, gradient or parameters not finite, or a spike, where
        `bad_steps` has no remedy; 128 + the number of the signal that stopped it, after saving.

    Raises:
        InputError: before anything compiles or is written, where a field, a file or the folder is
            not what it must be.
        OSError: the disk is full; the checkpoints that were finished are intact.
    """
    peers.check_versions_and(to_json(experiment))
    peers.first_decides(lambda: check_folder(experiment, workdir))
    peers.check_shared(workdir)
    finished = peers.first_decides(lambda: finished_at(workdir / METRICS)) or 0
    stopped = peers.first_decides(lambda: patience.is_out(experiment, workdir))
    if finished >= experiment.steps or (finished and stopped):
        if peers.index() == 0:
            print(f"{workdir} holds this run, finished at step {finished:,}: nothing is left to do")
        return DONE
    return Training(experiment, workdir, resume=resume).run()


class Training:
    """One run. Made, it is checked and planned, and nothing is written yet; `run` does it all."""

    def __init__(self, experiment: Experiment, workdir: Path, *, resume: str = "newest") -> None:
        """Raises InputError for whatever does not fit together."""
        self.experiment, self.resume = experiment, resume
        objective, batching = experiment.objective, experiment.batching

        # --- What can be refused before any data is read ------------------------------------------
        experiment.schedule.build(experiment.steps)
        self.mesh = experiment.mesh.build()

        # --- Data: a pure function of (seed, step) ------------------------------------------------
        train_examples, validation_examples, test_examples = load_splits(experiment)
        folder = open_for_training(experiment, workdir, train_examples)
        smallest = rows_multiple(self.mesh) * batching.ramp.parts(experiment.accumulation, 1)
        multiple = folder.rows_multiple_of or smallest
        self.folder = dataclasses.replace(folder, rows_multiple_of=multiple)
        part, parts = rows_of_process(self.mesh)
        make: Any = TrainData
        if experiment.streams:
            make = partial(StreamData, lengths=objective.lengths)
        self.data = make(
            self.folder.encode(train_examples, batching),
            objective.collate(experiment.model, packed=batching.packing),
            batching,
            seed=experiment.seed,
            rows_multiple_of=multiple,
            process_index=part,
            process_count=parts,
        )
        if peers.number() > 1:
            mine = {"the tokeniser": self.folder.tokenizer.fingerprint}
            peers.check_same({**mine, "the training data": self.data.examples.fingerprint})
        check_lengths((length for _, length in self.data.shapes), self.mesh)
        parts_of_rows = self.data.parts_of_rows(experiment.accumulation)
        check_rows(self.data.shapes, parts_of_rows, self.mesh)
        self.validation = encode_split(self.folder, validation_examples)
        self.test = test_examples and encode_split(self.folder, test_examples)

        # --- Model, optimiser, update: shapes only ------------------------------------------------
        self.assembled = assemble(experiment, self.mesh)
        self.train_step = CompiledStep(self.assembled.step(parts_of_rows), key_of(experiment.seed))

        # --- What it begins from, unless it has begun ---------------------------------------------
        begun = peers.first_decides(lambda: bool(steps_in(workdir)))
        self.beginning = (
            None if begun else initial.load(experiment, self.assembled.state, self.mesh)
        )
        self.begun_from = self.beginning.told if self.beginning else ""
        self.rollbacks = 0  # to the checkpoint that this stretch of the run began from

    def run(self) -> int:
        """Everything, in a folder that no other process trains in."""
        with contextlib.ExitStack() as until_then:
            lock = held(self.folder.workdir)
            peers.first_decides(lambda: until_then.enter_context(lock))
            return self.held_run()

    def held_run(self) -> int:
        """Everything, with a way out for signals and for numbers that are not finite."""
        peers.first_decides(lambda: write_config(self.folder))
        # A trace's file is named after its host, which processes may share.
        trace = f"profile/process{peers.index()}" if peers.number() > 1 else "profile"
        with (
            open_checkpoints(self.folder) as self.checkpoints,
            StopSignal() as self.stop,
            Profiler(self.experiment.profile, self.folder.workdir / trace) as self.profiler,
        ):
            self.evaluator = Evaluator(self.folder, self.mesh, check=self.stop.check)
            try:
                self.begin()
                with self.log:
                    self.fit()
                    self.finish()
                return DONE
            except Stopped as reason:
                # Raised only where the state is known to be finite.
                self.checkpoints.save(self.state)
                self.checkpoints.wait()
                if peers.index() == 0:
                    print(f"{reason} after saving step {int(self.state.step)}", flush=True)
                return reason.exit_status
            except BadStep as reason:
                self.checkpoints.wait()
                steps = self.checkpoints.steps()
                good = self.checkpoints.folder / str(steps[-1]) if steps else "none"
                if peers.index() == 0:
                    print(f"error: {reason}; the last good checkpoint is {good}", file=sys.stderr)
                return BAD_STEP

    def begin(self) -> None:
        """The state, from the newest checkpoint or from the seed, and the log up to there."""
        aside = self.checkpoints.set_aside_damaged() if self.resume == "previous" else None
        experiment = self.experiment
        self.start = self.restore_newest()
        # A checkpoint is saved before it is evaluated: a stop in between leaves that to do.
        self.to_evaluate = (
            self.start > 0
            and self.evaluates_at(self.start)
            and not self.checkpoints.metrics(self.start)
        )
        self.log: RunLog | NoLog = NoLog()
        if peers.index() == 0:
            self.log = RunLog(
                self.folder.workdir,
                start_step=self.start,
                total_steps=experiment.steps,
                evaluated=not self.to_evaluate,
            )
        if aside is not None:
            self.log.say(f"checkpoint {aside} is damaged: set aside as {aside}.damaged")
        peak = peak_of(self.mesh, experiment.model.dtype)
        self.meter = Meter(peak.total, experiment.bad_steps.tolerated, self.note_skipped)
        about = (experiment, self.mesh, self.data, self.state, self.start, self.begun_from)
        self.log.say(f"{described(*about)}\n{peak.description()}")

    def restore_newest(self) -> int:
        """The state of the newest checkpoint, or of step 0 where there is none; its step."""
        if steps := self.checkpoints.steps():
            self.state = self.checkpoints.restore(steps[-1], self.assembled.state)
        else:
            self.state = self.assembled.initial_state()
            # A step takes the arrays of its state for itself: a second beginning reads them again.
            found = self.beginning or initial.load(self.experiment, self.assembled.state, self.mesh)
            self.beginning = None
            self.state = found.of(self.state, self.experiment.model) if found else self.state
        guard = self.state.guard
        self.offset = 0 if guard is None else int(guard.offset)
        return steps[-1] if steps else 0

    def fit(self) -> None:
        """Steps to the end, going back from bad ones where that is the policy."""
        if self.to_evaluate:
            self.validate(self.start)
        if self.out_of_patience():
            return
        while True:
            try:
                self.advance()
                return
            except BadStep as bad:
                self.go_back(bad)

    def advance(self) -> None:
        """Steps from where the state stands; numbers are read while the next one is computed."""
        experiment = self.experiment
        self.begin_averaging()
        batches = self.data.iterate(self.start + self.offset, experiment.steps + self.offset)
        for step in range(self.start + 1, experiment.steps + 1):
            with jax.set_mesh(self.mesh):
                batch = place(next(batches), self.mesh)
                if not self.train_step.knows(batch):
                    self.compile(batch)
                self.profiler.before(step, self.meter.paused)
                self.state, metrics = self.train_step(self.state, batch)
            self.meter.add(step, metrics, Work.of(experiment, batch))
            if self.profiler.after(step, self.meter.paused):
                self.log.say(f"trace of steps {experiment.profile}: {self.profiler.folder}")
            if step % experiment.log_every == 0 or step == experiment.steps:
                epoch = self.data.epochs_before(step + self.offset)
                measures = experiment.objective.measures(self.meter.read())
                self.log.train(step, {**measures, "epoch": epoch})
            if step % experiment.checkpoint_every == 0 or self.evaluates_at(step):
                self.meter.check()
                self.checkpoints.save(self.state)
            if self.evaluates_at(step):
                self.validate(step)
                if self.out_of_patience():
                    self.log.say(f"stopped at step {step:,}: nothing better was found lately")
                    return
                self.begin_averaging()
            if self.stop.due():
                try:
                    self.meter.check()
                except BadStep as bad:
                    self.go_back(bad)
                self.stop.leave()

    def compile(self, batch: dict[str, jax.Array]) -> None:
        """The step for a shape of batch that is new; what the first one takes is told."""
        with self.meter.paused():
            program = self.train_step.compile(self.state, batch)
            peers.meet()  # one that compiled faster would find nobody at its first collective
        if len(self.train_step.programs) == 1:
            self.log.say(program.description())

    def go_back(self, bad: BadStep) -> None:
        """To the newest checkpoint, leaving out the batches up to the bad one and some beyond.

        The next checkpoint has the new offset. A run that is killed before comes from the old one
        to the same bad step, and back in the same way.

        Raises:
            BadStep: the same, where going back is not the policy or has not helped.
        """
        policy = self.experiment.bad_steps
        if policy.policy != "rollback":
            raise bad
        offset, before = self.offset, self.start
        with self.meter.paused():
            self.checkpoints.wait()
            self.start = self.restore_newest()
            self.rollbacks = self.rollbacks + 1 if self.start == before else 1
            if self.rollbacks > policy.max_rollbacks:
                raise bad
            left_out = bad.step - self.start + policy.leave_out
            self.offset = offset + left_out
            guard = self.state.guard
            assert guard is not None
            there = jax.device_put(np.int32(self.offset), guard.offset.sharding)
            guard = dataclasses.replace(guard, offset=there)
            self.state = dataclasses.replace(self.state, guard=guard)
        self.log.rewind(self.start)
        self.log.record(
            self.start, "rollback", bad_step=bad.step, reason=str(bad), left_out=left_out
        )
        self.log.say(f"{bad}: back to step {self.start:,}, leaving out {left_out:,} batches")

    def note_skipped(self, step: int, values: dict[str, float], reason: str) -> None:
        """A record of a step whose update was left out."""
        self.log.record(step, "bad_step", reason=reason, **{n: values[n] for n in CHECKED})
        self.log.say(f"step {step:>6}/{self.experiment.steps}  skipped: {reason}")

    def evaluates_at(self, step: int) -> bool:
        """Whether the validation split is scored after this step."""
        return step % self.experiment.eval_every == 0 or step == self.experiment.steps

    def out_of_patience(self) -> bool:
        """Whether evaluations have not found anything better for as long as that is waited for."""
        workdir = self.folder.workdir
        return peers.first_decides(lambda: patience.is_out(self.experiment, workdir))

    def begin_averaging(self) -> None:
        """Averages from here on, if evaluations have triggered it and it has not begun."""
        averaged = self.state.averaged
        if averaged is None or int(averaged) >= 0:
            return
        workdir = self.folder.workdir
        if peers.first_decides(lambda: averaging.is_due(self.experiment, workdir)):
            none_yet = jax.device_put(np.int32(0), averaged.sharding)
            self.state = dataclasses.replace(self.state, averaged=none_yet)
            self.log.say(f"step {int(self.state.step):>6}: parameters are averaged from here on")

    def validate(self, step: int) -> None:
        """Validation loss and scores, noted with the checkpoint."""
        experiment, params = self.experiment, self.state.eval_params
        with self.meter.paused():
            found = self.evaluator.validate(
                params,
                self.validation,
                generated=experiment.eval_examples,
                max_new_tokens=experiment.decoding.max_new_tokens,
            )
            self.log.record(step, "eval", **found)
            self.log.say(f"step {step:>6}/{experiment.steps}  validation: {shown(found)}")
            self.checkpoints.rate(step, found)

    def finish(self) -> None:
        """Scores the best checkpoint on unseen examples, draws the report, closes the record."""
        self.checkpoints.wait()
        last, best = int(self.state.step), self.checkpoints.choose("best")
        chosen = (
            self.state if best == last else self.checkpoints.restore(best, self.assembled.state)
        )
        params = chosen.eval_params
        # A source without a test split is judged by what it has.
        name, split = ("test", self.test) if self.test else ("validation", self.validation)
        scores, predictions = self.evaluator.scores(params, split, self.experiment.decoding)
        if peers.number() > 1 and predictions:
            params = on_host(params)  # process 0 draws alone: no array of others can help it
        if peers.index() > 0:
            return
        summary = write_summary(
            self.folder, params, split, predictions, self.assembled.learning_rate
        )
        if summary.samples:
            self.log.say("\n".join(summary.samples))
        self.log.say(f"{name}, checkpoint of step {best}: {shown(scores)}")
        self.log.say("report: " + ", ".join(str(path) for path in summary.paths))
        named = {f"{name}/{metric}": value for metric, value in scores.items()}
        self.log.record(last, "test", **named, best_step=best, final=True)
