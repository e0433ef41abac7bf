"""Six models, trained the same 20 steps on every kind of mesh: are the losses the same?

The same data, seed and update each time: on one device, on eight arranged in all the ways that
docs/parallelism.md explains, by `jax.pmap`, and on two processes of four devices that talk over
loopback (gloo). Without dropout, which `pmap` would draw anew for each device, as it would the
tokens that BERT is to guess: BERT (hidden tokens and next sentences) is left out there, and where
gradients are accumulated. AWD-LSTM carries its states from batch to batch, which the `pmap` step
does not know. What may differ is the order in which float32 numbers are added up.

    python -m benchmarks.mesh_equality

writes benchmarks/results/mesh_equality.json and the table in docs/parallelism.md. The devices are
simulated on the CPU.
"""

import argparse
import dataclasses
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from benchmarks.harness import RESULTS
from flaxformers_edu.models import (
    AWDLSTMConfig,
    BertConfig,
    ElmoConfig,
    GPTConfig,
    Seq2SeqConfig,
    TransformerConfig,
)
from flaxformers_edu.objectives import (
    BertPretraining,
    BidirectionalLM,
    BPTTLanguageModel,
    CausalLM,
    Translation,
)
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from flaxformers_edu.sharding import MeshShape
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching, TrainData
from train.placement import place
from train.pmap import make_pmap_step, replicate, split
from train.prepare import Run, open_for_training
from train.sources import StdlibDocs, ToyKorean
from train.state import abstract_params, abstract_state, create_state, shardings_of
from train.step import make_train_step
from train.streams import StreamData

PAGE = Path(__file__).parents[1] / "docs" / "parallelism.md"
BEGIN, END = "<!-- mesh_equality -->\n", "<!-- end -->\n"

TRANSLATION = Experiment(
    name="mesh-equality",
    model=TransformerConfig(
        vocab_size=480,
        hidden_size=32,
        num_layers=2,
        num_heads=8,
        intermediate_size=64,
        dropout=0.0,
    ),
    objective=Translation(label_smoothing=0.1),
    source=ToyKorean(size=400, held_out_size=16),
    tokenizer=TokenizerSpec(kind="bpe"),
    batching=Batching(
        tokens_per_batch=1024, max_source_length=64, max_target_length=64, buckets=(64,)
    ),
    optimizer=Optimizer(clip_norm=1.0),
    schedule=Schedule(peak=3e-3, warmup_steps=5),
)
LANGUAGE = dataclasses.replace(
    TRANSLATION,
    model=GPTConfig(
        vocab_size=480,
        hidden_size=32,
        num_layers=2,
        num_heads=8,
        intermediate_size=64,
        max_length=64,
        pad_token_id=0,
        eos_token_id=1,
        dropout=0.0,
        embedding_dropout=0.0,
        attention_dropout=0.0,
    ),
    objective=CausalLM(),
    source=StdlibDocs(),
    batching=Batching(
        tokens_per_batch=1024, max_source_length=64, packing=True, over_length="truncate"
    ),
)
PRETRAINING = dataclasses.replace(
    TRANSLATION,
    model=BertConfig(
        vocab_size=480,
        hidden_size=32,
        num_layers=2,
        num_heads=8,
        intermediate_size=64,
        max_length=64,
        pad_token_id=0,
        eos_token_id=3,
        mask_token_id=4,
        dropout=0.0,
        attention_dropout=0.0,
    ),
    objective=BertPretraining(pairs="nsp"),
    source=StdlibDocs(unit="document"),
    tokenizer=TokenizerSpec(kind="wordpiece"),
    batching=Batching(tokens_per_batch=1024, max_source_length=64, buckets=(64,)),
)
RECURRENT = dataclasses.replace(
    TRANSLATION,
    model=Seq2SeqConfig(
        vocab_size=480,
        embedding_size=32,
        hidden_size=32,
        num_layers=2,
        bidirectional=True,
        reverse_source=False,
        dropout=0.0,
    ),
)
CHARACTERS = dataclasses.replace(
    TRANSLATION,
    model=ElmoConfig(
        vocab_size=480,
        filters=((1, 8), (2, 8), (3, 16)),
        num_highway=1,
        projection_size=16,
        hidden_size=32,
        dropout=0.0,
    ),
    objective=BidirectionalLM(split_punctuation=True),
    source=StdlibDocs(unit="document"),
    tokenizer=TokenizerSpec(kind="elmo"),
    batching=Batching(tokens_per_batch=512, max_source_length=32, buckets=(32,)),
)
STREAMS = dataclasses.replace(
    LANGUAGE,
    model=AWDLSTMConfig(
        vocab_size=480,
        embedding_size=32,
        hidden_size=64,
        pad_token_id=0,
        eos_token_id=1,
        embedding_dropout=0.0,
        input_dropout=0.0,
        hidden_dropout=0.0,
        output_dropout=0.0,
        weight_dropout=0.0,
    ),
    objective=BPTTLanguageModel(bptt=48),
    batching=Batching(tokens_per_batch=16 * 64, max_source_length=64),
)
MODELS = {
    "Transformer": TRANSLATION,
    "GPT": LANGUAGE,
    "BERT": PRETRAINING,
    "Seq2Seq": RECURRENT,
    "ELMo": CHARACTERS,
    "AWD-LSTM": STREAMS,
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way to train."""

    mesh: MeshShape = MeshShape()
    devices: int = 8
    accumulation: int = 1
    pmap: bool = False
    processes: int = 1


SETTINGS = {
    "1 device": Setting(devices=1),
    "8 by pmap": Setting(pmap=True),
    "data 8": Setting(MeshShape(data=8)),
    "fsdp 8": Setting(MeshShape(data=1, fsdp=8)),
    "tensor 8": Setting(MeshShape(data=1, tensor=8)),
    "fsdp 4 x tensor 2": Setting(MeshShape(data=1, fsdp=4, tensor=2)),
    "data 2 x fsdp 2 x tensor 2": Setting(MeshShape(data=2, fsdp=2, tensor=2)),
    "data 2 x sequence 4": Setting(MeshShape(data=2, sequence=4)),
    "data 8 in 2 slices": Setting(MeshShape(data=8, slices=2)),
    "2 processes of 4, data 8": Setting(MeshShape(data=8), processes=2),
    "1 device, accumulation 4": Setting(devices=1, accumulation=4),
}
BASELINE = "1 device"
LEFT_OUT = {"BERT": ("8 by pmap", "1 device, accumulation 4"), "AWD-LSTM": ("8 by pmap",)}
"""Settings in which a model would draw other random numbers, or forget what it carries."""
BOUND = 5e-6
"""Ten times the spacing of float32 between 4 and 8, where these losses are."""


def losses(experiment: Experiment, setting: Setting, steps: int) -> list[float]:
    """The training loss of each step."""
    run = opened(experiment)
    learning_rate = experiment.schedule.build(steps)
    shapes = nn.meta.unbox(abstract_params(run.model))
    optimizer = experiment.optimizer.build(learning_rate, shapes)
    mesh = setting.mesh.build(None if setting.processes > 1 else jax.devices()[: setting.devices])
    optional = experiment.state_parts
    state = create_state(run.model, optimizer, mesh, seed=0, **optional)
    parts = (run.model, experiment.objective, optimizer, learning_rate)
    step: Callable[..., Any]
    if setting.pmap:
        step, state = make_pmap_step(*parts, seed=0), replicate(jax.device_get(state))
    else:
        shardings = shardings_of(abstract_state(run.model, optimizer, mesh, **optional))
        step = make_train_step(
            *parts, seed=0, accumulation=setting.accumulation, shardings=shardings
        )
    make: Any = TrainData
    if experiment.streams:
        make = partial(StreamData, lengths=experiment.objective.lengths)
    data = make(
        encoded(experiment),
        experiment.objective.collate(experiment.model, packed=experiment.batching.packing),
        experiment.batching,
        seed=0,
        rows_multiple_of=8,  # whatever the setting: the batches are to be the same
        process_index=jax.process_index(),
        process_count=setting.processes,
    )
    found = []
    for i in range(steps):
        batch = data.batch_at(i)
        if setting.pmap:
            state, metrics = step(state, split(batch))
        else:
            with jax.set_mesh(mesh):
                state, metrics = step(state, place(batch, mesh))
        found.append(float(np.ravel(metrics["loss"])[0]))
    return found


@cache
def opened(experiment: Experiment) -> Run:
    """The model and the tokeniser; nothing is written."""
    return open_for_training(experiment, Path("unwritten"), experiment.source.load("train"))


@cache
def encoded(experiment: Experiment) -> Any:
    """The examples as ids."""
    return opened(experiment).encode(experiment.source.load("train"), experiment.batching)


def losses_of_processes(model: str, name: str, steps: int) -> list[float]:
    """The same with processes of their own, which find each other at a free port of loopback."""
    setting = SETTINGS[name]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    workers = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.mesh_equality", "--steps", str(steps)),
                *("--model", model, "--setting", name),
                *("--coordinator", coordinator, "--process", str(index)),
            ],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(setting.processes)
    ]
    try:
        answers = [worker.communicate(timeout=900)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    if any(worker.returncode for worker in workers):
        raise RuntimeError(f"{name}: a process failed")
    first, *others = [json.loads(answer.splitlines()[-1]) for answer in answers]
    if any(other != first for other in others):
        raise RuntimeError(f"{name}: the processes report different losses")
    return first


def work(options: argparse.Namespace) -> None:
    """One of several processes: prints its losses."""
    setting = SETTINGS[options.setting]
    jax.config.update("jax_num_cpu_devices", setting.devices // setting.processes)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(options.coordinator, setting.processes, options.process)
    print(json.dumps(losses(MODELS[options.model], setting, options.steps)), flush=True)


def compare(model: str, steps: int) -> dict[str, dict[str, Any]]:
    """For each setting its losses, and how far they are from those of one device."""
    found: dict[str, dict[str, Any]] = {}
    for name, setting in SETTINGS.items():
        if name in LEFT_OUT.get(model, ()):
            continue
        if setting.processes > 1:
            history = losses_of_processes(model, name, steps)
        else:
            history = losses(MODELS[model], setting, steps)
        baseline = found[BASELINE]["losses"] if found else history
        difference = float(np.abs(np.subtract(history, baseline)).max())
        found[name] = {"losses": history, "largest_difference": difference}
        print(f"{model:12} {name:30} {history[-1]:.6f} {difference:.1e}", flush=True)
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    """As Markdown: for each model the last loss, and the largest difference of any step's."""
    lines = ["| | " + " | ".join(f"{model}: loss | difference" for model in found) + " |"]
    lines.append("|---" * (1 + 2 * len(found)) + "|")
    for name in SETTINGS:
        cells = [name]
        for values in found.values():
            if name not in values:
                cells += ["", ""]
                continue
            difference = f"{values[name]['largest_difference']:.1e}"
            cells += [f"{values[name]['losses'][-1]:.6f}", "" if name == BASELINE else difference]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures; with --coordinator is one of the processes that are measured."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--steps", type=int, default=20, help="default: 20")
    for name, kind in {"model": str, "setting": str, "coordinator": str, "process": int}.items():
        options.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    given = options.parse_args()
    jax.config.update("jax_platforms", "cpu")
    if given.coordinator:
        return work(given)
    jax.config.update("jax_num_cpu_devices", 8)
    found = {model: compare(model, given.steps) for model in MODELS}
    path = RESULTS / "mesh_equality.json"
    versions = {"jax": jax.__version__}
    path.write_text(json.dumps({"versions": versions, "models": found}, indent=1) + "\n")
    page = PAGE.read_text()
    before, after = page[: page.index(BEGIN)], page[page.index(END) :]
    PAGE.write_text(before + BEGIN + "\n" + table(found) + "\n" + after)
    print(f"wrote {path} and {PAGE}")
    worst = max(one["largest_difference"] for values in found.values() for one in values.values())
    if worst > BOUND:
        sys.exit(f"the losses differ by {worst:.1e}, more than {BOUND:.0e}")


if __name__ == "__main__":
    main()
