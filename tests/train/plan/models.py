"""The smallest steps to plan, and how they are compiled for a CPU."""

import dataclasses
from typing import Any

import jax

from flaxformers_edu.models import GPTConfig
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.sharding import MeshShape
from tests.train import tiny
from train.experiment import Experiment
from train.pipeline import Batching
from train.plan.program import Step, prepare_step

MODEL = GPTConfig(
    vocab_size=256,
    hidden_size=64,
    num_layers=3,
    num_heads=4,
    intermediate_size=256,
    max_length=64,
    pad_token_id=0,
    eos_token_id=1,
    dropout=0.0,
    embedding_dropout=0.0,
    attention_dropout=0.0,
)


ONE_DEVICE = MeshShape(data=1)


def gpt(mesh: MeshShape = ONE_DEVICE, **changes: Any) -> Experiment:
    """A language model of three layers: 8 rows of 64 tokens."""
    return tiny.config(
        name="gpt",
        model=dataclasses.replace(MODEL, **changes),
        objective=CausalLM(),
        batching=Batching(tokens_per_batch=512, max_source_length=64, buckets=(64,)),
        mesh=mesh,
        ema_decay=0.0,
    )


def on_cpu(experiment: Experiment) -> Step:
    """Its step on as many of the simulated devices as its mesh names."""
    mesh = experiment.mesh
    number = mesh.data * mesh.fsdp * mesh.tensor * mesh.sequence
    return prepare_step(experiment, jax.devices()[:number])
