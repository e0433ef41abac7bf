import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from flaxformers_edu.flops import training_flops
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.sharding import MeshShape
from tests.train.tiny import config
from train.measure import Peak, Work, measured_peak, peak_of

MODEL = config().model


def test_work_is_of_the_decoder_and_of_the_whole_model():
    batch = {
        "input_ids": jnp.zeros((4, 16)),
        "decoder_input_ids": jnp.zeros((4, 8)),
        "labels": jnp.zeros((4, 8)),
    }
    work = Work.of(config(), batch)
    assert work.positions == 32
    forward = MODEL.forward_flops({"input_ids": (4, 16), "decoder_input_ids": (4, 8)})
    assert work.flops == training_flops(forward) == 3 * sum(forward.values())


def test_work_of_a_model_without_a_decoder():
    model = types.SimpleNamespace(
        forward_flops=lambda shapes, task: {task: 1.0 * shapes["input_ids"][1]}
    )
    experiment = config(model=model, objective=CausalLM())
    assert Work.of(experiment, {"input_ids": jnp.zeros((4, 16))}) == Work(64, 48.0)


def fake_mesh(kind: str, number: int) -> Mesh:
    device = types.SimpleNamespace(device_kind=kind)
    return types.SimpleNamespace(devices=np.array([device] * number), size=number)


@pytest.mark.parametrize(
    ("kind", "dtype", "flops"),
    [("NVIDIA H200", "bfloat16", 989e12), ("NVIDIA H200", "float32", 494.5e12)],
)
def test_a_known_device_has_its_datasheet(kind, dtype, flops):
    peak = peak_of(fake_mesh(kind, 4), dtype)
    assert peak == Peak(4, "H200", flops, f"its datasheet's {dtype}")
    assert peak.total == 4 * flops


def test_others_are_measured_at_the_same_time():
    mesh = MeshShape().build(jax.devices()[:2])
    peak = peak_of(mesh, "bfloat16")
    assert peak.num_devices == 2 and peak.name == "cpu"
    # Slower than this no processor is, and none is faster.
    assert 1e8 < peak.flops < 1e14
    line = peak.description()
    assert line.startswith("MFU is of 2 x cpu at ") and "768-cube float32 product" in line
    assert "causal attention counts half" in line


def test_a_measurement_is_made_once(monkeypatch):
    device = (jax.devices()[0],)
    first = measured_peak(device, "float32", 64)
    monkeypatch.setattr("train.measure.time.perf_counter", None)  # a second one would call it
    assert measured_peak(device, "float32", 64) == first


def test_causal_attention_counts_half():
    """The stricter of the two counts of `forward_flops`."""
    batch = {"input_ids": jnp.zeros((1, 64)), "decoder_input_ids": jnp.zeros((1, 64))}
    shapes = {name: x.shape for name, x in batch.items()}
    model = dataclasses.replace(MODEL, num_layers=2)
    work = Work.of(config(model=model), batch)
    whole = model.forward_flops(shapes, masked=True)
    assert work.flops < training_flops(whole)
