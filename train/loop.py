"""The run, from top to bottom: check, prepare, restore or begin, train, score, report."""

import sys
from pathlib import Path

import jax

from train.evaluate import (
    Evaluator,
    encode_split,
    open_checkpoints,
    params_shapes,
    place,
    rows_multiple,
)
from train.experiment import Decoding, Experiment
from train.log import METRICS, RunLog, finished_at
from train.pipeline import TrainData
from train.prepare import check_folder, load_split, open_for_training, write_config
from train.state import abstract_state, count, create_state, shardings_of
from train.step import make_train_step
from train.summary import write_summary
from train.watch import Meter, NonFinite, Stopped, StopSignal

DONE, NON_FINITE = 0, 3


def run(experiment: Experiment, workdir: Path) -> int:
    """Trains, evaluates and reports; goes on where the newest checkpoint of `workdir` stands.

    Returns:
        The exit status: 0 done; 3 loss, gradient or parameters not finite; 128 + the number of the
        signal that stopped it, after saving.

    Raises:
        InputError: before anything compiles or is written, where a field, a file or the folder is
            not what it must be.
        OSError: the disk is full; the checkpoints that were finished are intact.
    """
    check_folder(experiment, workdir)
    if (finished := finished_at(workdir / METRICS) or 0) >= experiment.steps:
        print(f"{workdir} holds this run, finished at step {finished:,}: nothing is left to do")
        return DONE
    return Training(experiment, workdir).run()


class Training:
    """One run. Made, it is checked and planned, and nothing is written yet; `run` does it all."""

    def __init__(self, experiment: Experiment, workdir: Path) -> None:
        """Raises InputError for whatever does not fit together."""
        self.experiment = experiment
        objective, batching = experiment.objective, experiment.batching

        # --- Mesh ---------------------------------------------------------------------------------
        self.mesh = experiment.mesh.build()

        # --- Data: a pure function of (seed, step) ------------------------------------------------
        train_examples = experiment.source.load("train")
        validation_examples = experiment.source.load("validation")
        test_examples = load_split(experiment.source, "test")
        self.folder = open_for_training(experiment, workdir, train_examples)
        self.data = TrainData(
            self.folder.encode(train_examples, batching),
            objective.collate(experiment.model, packed=batching.packing),
            batching,
            seed=experiment.seed,
            rows_multiple_of=rows_multiple(self.mesh) * experiment.accumulation,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        self.validation = encode_split(self.folder, validation_examples)
        self.test = test_examples and encode_split(self.folder, test_examples)

        # --- Model, optimiser, update: shapes only ------------------------------------------------
        self.learning_rate = experiment.schedule.build(experiment.steps)
        self.optimizer = experiment.optimizer.build(self.learning_rate, params_shapes(self.folder))
        self.ema = experiment.ema_decay > 0
        self.abstract = abstract_state(self.folder.model, self.optimizer, self.mesh, ema=self.ema)
        self.train_step = make_train_step(
            self.folder.model,
            objective,
            self.optimizer,
            self.learning_rate,
            seed=experiment.seed,
            accumulation=experiment.accumulation,
            ema_decay=experiment.ema_decay,
            shardings=shardings_of(self.abstract),
        )
        self.meter = Meter()

    def run(self) -> int:
        """Everything, with a way out for signals and for numbers that are not finite."""
        write_config(self.folder)
        with open_checkpoints(self.folder) as self.checkpoints, StopSignal() as self.stop:
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
                print(f"{reason} after saving step {int(self.state.step)}", flush=True)
                return reason.exit_status
            except NonFinite as reason:
                self.checkpoints.wait()
                steps = self.checkpoints.steps()
                good = self.checkpoints.folder / str(steps[-1]) if steps else "none"
                print(f"error: {reason}; the last good checkpoint is {good}", file=sys.stderr)
                return NON_FINITE

    def begin(self) -> None:
        """The state, from the newest checkpoint or from the seed, and the log up to there."""
        steps, experiment = self.checkpoints.steps(), self.experiment
        if steps:
            self.state = self.checkpoints.restore(steps[-1], self.abstract)
        else:
            self.state = create_state(
                self.folder.model, self.optimizer, self.mesh, seed=experiment.seed, ema=self.ema
            )
        self.start = steps[-1] if steps else 0
        # A checkpoint is saved before it is evaluated: a stop in between leaves that to do.
        self.to_evaluate = (
            self.start > 0
            and self.evaluates_at(self.start)
            and not self.checkpoints.metrics(self.start)
        )
        self.log = RunLog(
            self.folder.workdir,
            start_step=self.start,
            total_steps=experiment.steps,
            evaluated=not self.to_evaluate,
        )
        self.log.say(self.description())

    def fit(self) -> None:
        """Steps to the end; each one's numbers are read while the next one is computed."""
        experiment = self.experiment
        if self.to_evaluate:
            self.validate(self.start)
        batches = self.data.iterate(self.start, experiment.steps)
        for step in range(self.start + 1, experiment.steps + 1):
            with jax.set_mesh(self.mesh):
                batch = place(next(batches), self.mesh)
                self.state, metrics = self.train_step(self.state, batch)
            self.meter.add(step, metrics)
            if step % experiment.log_every == 0 or step == experiment.steps:
                epoch = step / self.data.steps_per_epoch
                self.log.train(step, {**self.meter.read(), "epoch": epoch})
            if step % experiment.checkpoint_every == 0 or self.evaluates_at(step):
                self.meter.check()
                self.checkpoints.save(self.state)
            if self.evaluates_at(step):
                self.validate(step)
            if self.stop.number is not None:
                self.meter.check()
                self.stop.check()

    def evaluates_at(self, step: int) -> bool:
        """Whether the validation split is scored after this step."""
        return step % self.experiment.eval_every == 0 or step == self.experiment.steps

    def validate(self, step: int) -> None:
        """Validation loss and the score of greedy predictions, noted with the checkpoint."""
        experiment, params = self.experiment, self.state.eval_params
        with self.meter.paused():
            found = self.evaluator.loss(params, self.validation)
            if experiment.eval_examples and experiment.objective.generates:
                some = self.validation.first(experiment.eval_examples)
                longest = experiment.decoding.max_new_tokens
                greedy = Decoding(num_beams=1, max_new_tokens=longest)
                predictions = self.evaluator.predict(params, some, greedy)
                found |= experiment.objective.score(predictions, some.references)
            self.log.record(step, "eval", **found)
            self.log.say(f"step {step:>6}/{experiment.steps}  validation: {shown(found)}")
            self.checkpoints.rate(step, found)

    def finish(self) -> None:
        """Scores the best checkpoint on unseen examples, draws the report, closes the record."""
        self.checkpoints.wait()
        last, best = int(self.state.step), self.checkpoints.choose("best")
        chosen = self.state if best == last else self.checkpoints.restore(best, self.abstract)
        params = chosen.eval_params
        # A source without a test split is judged by what it has.
        name, split = ("test", self.test) if self.test else ("validation", self.validation)
        scores, predictions = self.evaluator.scores(params, split, self.experiment.decoding)
        summary = write_summary(self.folder, params, split, predictions, self.learning_rate)
        if summary.samples:
            self.log.say("\n".join(summary.samples))
        self.log.say(f"{name}, checkpoint of step {best}: {shown(scores)}")
        self.log.say("report: " + ", ".join(str(path) for path in summary.paths))
        named = {f"{name}/{metric}": value for metric, value in scores.items()}
        self.log.record(last, "test", **named, best_step=best, final=True)

    def description(self) -> str:
        """What is about to run, in a few lines."""
        experiment, data = self.experiment, self.data
        axes = [f"{axis} {size}" for axis, size in self.mesh.shape.items() if size > 1]
        shape = f" ({' x '.join(axes)})" if axes else ""
        dropped = data.examples.num_dropped
        return "\n".join(
            [
                f"{experiment.name}: {count(self.state.params):,} parameters on {self.mesh.size} "
                f"{jax.devices()[0].platform} device(s){shape}",
                f"{len(data.examples):,} training examples, {data.steps_per_epoch:,} batches an "
                f"epoch in {len(data.shapes)} shape(s)"
                + (f"; {dropped:,} over the maximum length were dropped" if dropped else ""),
                f"resumed from step {self.start:,} of {experiment.steps:,}"
                if self.start
                else f"{experiment.steps:,} steps from seed {experiment.seed}",
            ]
        )


def shown(numbers: dict[str, float]) -> str:
    """Names and values in a line for people."""
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
