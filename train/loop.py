"""The run: restore or begin, train, evaluate, keep, report."""

import math
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import jax

from train import log as logs
from train.checkpoint import Checkpoints
from train.evaluate import (
    Evaluator,
    abstract_of,
    evaluation_batching,
    open_checkpoints,
    place,
    references,
    rows_multiple,
    score_split,
)
from train.experiment import Decoding, Experiment
from train.log import RunLog
from train.pipeline import TrainData
from train.prepare import Run, check_writable, open_for_training, write_config
from train.state import TrainState, abstract_state, count, create_state
from train.step import make_train_step

DONE, BAD_INPUT, NON_FINITE, TERMINATED = 0, 2, 3, 143


class NonFiniteLoss(Exception):
    """The loss or its gradient is NaN or infinite."""


class StopSignal:
    """Remembers that SIGTERM or SIGINT came, so that the loop can save and leave."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __enter__(self) -> "StopSignal":
        signals = (signal.SIGTERM, signal.SIGINT)
        self._before = {s: signal.signal(s, self._note) for s in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:  # asked twice: do not wait
            sys.exit(128 + number)
        self.number = number


def run(experiment: Experiment, workdir: Path) -> int:
    """Trains; resumes if `workdir` holds a checkpoint. Returns the exit status."""
    # --- Check everything that can be wrong, before anything compiles ---------------------------
    mesh = experiment.mesh.build()
    learning_rate = experiment.schedule.build(experiment.steps)
    check_writable(workdir)
    if (record := logs.is_final(workdir / logs.METRICS)) and record["step"] >= experiment.steps:
        print(f"{workdir} holds this run, finished at step {record['step']}")
    train_split = experiment.source.load("train")
    validation_split = experiment.source.load("validation")
    opened = open_for_training(experiment, workdir, train_split)
    examples = opened.encode(train_split, experiment.batching)
    validation = opened.encode(validation_split, evaluation_batching(experiment.batching))
    objective, model = experiment.objective, opened.model
    data = TrainData(
        examples,
        objective.collate(experiment.model, packed=experiment.batching.packing),
        experiment.batching,
        seed=experiment.seed,
        rows_multiple_of=rows_multiple(mesh) * experiment.accumulation,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    optimizer = experiment.optimizer.build(learning_rate, abstract_of(opened))

    write_config(opened)

    # --- State: from the newest checkpoint, or from the seed -------------------------------------
    with open_checkpoints(opened) as checkpoints, StopSignal() as stop:
        ema = experiment.ema_decay > 0
        if steps := checkpoints.steps():
            state = checkpoints.restore(steps[-1], abstract_state(model, optimizer, mesh, ema=ema))
        else:
            state = create_state(model, optimizer, mesh, seed=experiment.seed, ema=ema)
        start = int(state.step)
        train_step = make_train_step(
            model,
            objective,
            optimizer,
            learning_rate,
            seed=experiment.seed,
            accumulation=experiment.accumulation,
            ema_decay=experiment.ema_decay,
        )
        evaluator = Evaluator(opened, mesh, validation)
        scored = references(validation_split, experiment.eval_examples or 1)

        with RunLog(workdir, start_step=start, total_steps=experiment.steps) as log:
            log.say(describe(experiment, state, data, mesh, start))
            # --- Loop --------------------------------------------------------------------------
            try:
                state = _train(
                    experiment, state, train_step, data, mesh, start, log, stop, checkpoints,
                    lambda params: _evaluate(experiment, evaluator, params, scored),
                )  # fmt: skip
            except NonFiniteLoss as error:
                checkpoints.wait()
                log.say(f"{error}; the last good checkpoint is {_newest(checkpoints)}")
                return NON_FINITE
            if stop.number is not None:
                checkpoints.save(state)
                checkpoints.wait()
                log.say(f"stopped by signal {stop.number} after saving step {int(state.step)}")
                return 128 + stop.number
            checkpoints.wait()
            # --- Finish ------------------------------------------------------------------------
            _finish(opened, state, mesh, checkpoints, optimizer, learning_rate, log)
    return DONE


def _train(
    experiment: Experiment,
    state: TrainState,
    train_step: Any,
    data: TrainData,
    mesh: Any,
    start: int,
    log: RunLog,
    stop: StopSignal,
    checkpoints: Checkpoints,
    evaluate: Any,
) -> TrainState:
    """Steps from `start` to the end, or to a signal; evaluates and saves on the way."""
    window_tokens, window_start, window_steps = 0.0, time.perf_counter(), 0
    previous: tuple[int, dict] | None = None
    batches = data.iterate(start, experiment.steps)
    for step in range(start + 1, experiment.steps + 1):
        with jax.set_mesh(mesh):
            state, metrics = train_step(state, place(next(batches), mesh))
        # Read the step before this one: the device is busy with this one meanwhile.
        if previous is not None:
            window_tokens += _checked(*previous)["tokens"]
        previous = (step, metrics)
        window_steps += 1

        last = step == experiment.steps
        if step % experiment.log_every == 0 or last:
            values = _checked(step, metrics)
            seconds = time.perf_counter() - window_start
            tokens = window_tokens + values.pop("tokens")
            speed = {
                "tokens_per_second": tokens / seconds,
                "steps_per_second": window_steps / seconds,
            }
            log.train(step, {**values, "epoch": step / data.steps_per_epoch, **speed})
            previous = None
            window_tokens, window_start, window_steps = 0.0, time.perf_counter(), 0
        to_evaluate = step % experiment.eval_every == 0 or last
        if to_evaluate:
            _checked(step, metrics)
            pause = time.perf_counter()
            found = evaluate(state.eval_params)
            log.record(step, "eval", **found)
            shown = "  ".join(f"{name} {value:.4g}" for name, value in found.items())
            log.say(f"step {step:>6}/{experiment.steps}  validation: {shown}")
            checkpoints.save(state, found)
            window_start += time.perf_counter() - pause
        elif step % experiment.checkpoint_every == 0:
            _checked(step, metrics)
            checkpoints.save(state)
        if stop.number is not None:
            _checked(step, metrics)
            break
    return state


def _checked(step: int, metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics as numbers.

    Raises:
        NonFiniteLoss: the loss or the gradient is not finite.
    """
    values = {name: float(value) for name, value in metrics.items()}
    for name in ("loss", "grad_norm"):
        if not math.isfinite(values[name]):
            raise NonFiniteLoss(f"{name} is {values[name]} at step {step}")
    return values


def _evaluate(
    experiment: Experiment, evaluator: Evaluator, params: Any, scored: list[str]
) -> dict[str, float]:
    """Validation loss, and the greedy predictions' score."""
    found = evaluator.loss(params)
    if experiment.eval_examples:
        greedy = Decoding(num_beams=1, max_new_tokens=experiment.decoding.max_new_tokens)
        hypotheses = evaluator.predict(params, greedy, limit=experiment.eval_examples)
        found |= experiment.objective.score(hypotheses, scored)
    return found


def _finish(
    opened: Run,
    state: TrainState,
    mesh: Any,
    checkpoints: Checkpoints,
    optimizer: Any,
    learning_rate: Any,
    log: RunLog,
) -> None:
    """Scores the best checkpoint on the test split, draws the report, closes the record."""
    experiment = opened.experiment
    best = checkpoints.choose("best")
    if best != int(state.step):
        abstract = abstract_state(opened.model, optimizer, mesh, ema=experiment.ema_decay > 0)
        state_of_best = checkpoints.restore(best, abstract)
    else:
        state_of_best = state
    params = state_of_best.eval_params
    test_split = experiment.source.load("test")
    scores, hypotheses = score_split(opened, mesh, params, test_split, experiment.decoding)
    from train.summary import write_summary

    pictures = write_summary(opened, params, test_split, hypotheses, learning_rate)
    log.record(
        int(state.step),
        "test",
        **{f"test/{name}": value for name, value in scores.items()},
        best_step=best,
        final=True,
    )
    log.say("\n".join(pictures.samples))
    shown = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
    log.say(f"test, checkpoint of step {best}: {shown}")
    log.say("report: " + ", ".join(str(path) for path in pictures.paths))


def describe(
    experiment: Experiment, state: TrainState, data: TrainData, mesh: Any, start: int
) -> str:
    """What is about to run, in a few lines."""
    shape = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items() if size > 1)
    dropped = data.examples.num_dropped
    return "\n".join(
        [
            f"{experiment.name}: {count(state.params):,} parameters on {mesh.size} "
            f"{jax.devices()[0].platform} device(s){f' ({shape})' if shape else ''}",
            f"{len(data.examples):,} training examples, {data.steps_per_epoch:,} batches an epoch in "
            f"{len(data.shapes)} shape(s)"
            + (f"; {dropped:,} over the maximum length were dropped" if dropped else ""),
            f"resumed from step {start:,} of {experiment.steps:,}"
            if start
            else f"{experiment.steps:,} steps from seed {experiment.seed}",
        ]
    )


def _newest(checkpoints: Checkpoints) -> str:
    steps = checkpoints.steps()
    return str(checkpoints.folder / str(steps[-1])) if steps else "none"
