"""Recurrent encoder-decoders in the trainer: whole runs, own words by the step, and meshes."""

import dataclasses
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.mesh_equality import BOUND, MODELS, Setting, losses
from flaxformers_edu.models import Seq2SeqConfig
from flaxformers_edu.objectives import ScheduledSampling, cross_entropy
from flaxformers_edu.sharding import MeshShape
from tests.train.folders import records
from tests.train.tiny import config
from train.__main__ import main
from train.loop import run
from train.state import create_state
from train.step import make_train_step

TINY = Seq2SeqConfig(
    vocab_size=800, embedding_size=16, hidden_size=16, num_layers=1, tie_embeddings=True
)


class Chance(nn.Module):
    """A loss that is the probability which the model is given."""

    reads_its_own_words = True

    @nn.compact
    def __call__(self, sampling_probability, deterministic=True, **inputs):
        self.param("unused", nn.initializers.zeros, (1,))
        return SimpleNamespace(logits=sampling_probability[:, None, None])

    @staticmethod
    def dummy_inputs():
        return {"sampling_probability": jnp.zeros(2)}


@dataclasses.dataclass(frozen=True)
class Shown(ScheduledSampling):
    """Whose loss is the mean of the model's only logits."""

    def loss(self, model, params, batch, dropout_key):
        logits = model.apply({"params": params}, **batch, deterministic=False).logits
        loss = cross_entropy(jnp.zeros((*batch["labels"].shape, 3)), batch["labels"])
        return loss.replace(sum=logits.sum() + 0 * params["unused"].sum())


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_step_tells_the_probability_of_its_update(accumulation):
    """Which the schedule computes from the number of updates that came before."""
    objective, model = Shown(decay="linear", k=1.0, slope=0.25), Chance()
    optimizer, mesh = optax.sgd(0.0), MeshShape().build(jax.devices()[:1])
    state = create_state(model, optimizer, mesh, seed=0, ema=False)
    step = make_train_step(
        model, objective, optimizer, lambda _: 0.0, seed=0, accumulation=accumulation
    )
    batch = {"labels": jnp.zeros((2, 1), jnp.int32)}
    found = []
    for _ in range(4):
        state, metrics = step(state, batch)
        found.append(float(metrics["loss"]))
    np.testing.assert_allclose(found, [0.0, 0.25, 0.5, 0.75], atol=1e-6)


@pytest.mark.slow
def test_a_run_through_the_bottleneck(tmp_path, capsys):
    """Reports have no alignment to draw, and the command says so."""
    folder, text = tmp_path / "run", tmp_path / "text.txt"
    model = dataclasses.replace(TINY, attention="none")
    assert run(config(model=model), folder) == 0
    assert not list((folder / "report").glob("attention*"))
    assert (folder / "report" / "bleu_by_length.png").exists()
    text.write_text("The teacher reads three books.\n", encoding="utf-8")
    capsys.readouterr()
    command = ["generate", str(folder), "--input", str(text)]
    assert main(command) == 0
    assert main([*command, "--attention", str(tmp_path / "a.png")]) == 2
    assert "has no attention to draw: leave --attention away" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_with_scheduled_sampling(tmp_path):
    """It trains, resumes to the same numbers, and draws its alignments."""
    settings = {
        "model": dataclasses.replace(TINY, dropout=0.1),
        "objective": ScheduledSampling(decay="linear", k=0.9, slope=0.1),
    }
    assert run(config(**settings), tmp_path / "whole") == 0
    assert (tmp_path / "whole" / "report" / "attention_1.png").exists()
    assert run(config(**settings, steps=4), tmp_path / "parts") == 0
    assert run(config(**settings), tmp_path / "parts") == 0

    def of_training(folder):
        return {r["step"]: r["loss"] for r in records(tmp_path / folder) if r["kind"] == "train"}

    assert of_training("parts")[6] == of_training("whole")[6]


@pytest.mark.slow
@pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")
def test_eight_devices_have_the_losses_of_one():
    recurrent = MODELS["Seq2Seq"]
    one = losses(recurrent, Setting(devices=1), 5)
    eight = losses(recurrent, Setting(MeshShape(data=8)), 5)
    np.testing.assert_allclose(eight, one, atol=BOUND)
    assert one[-1] < one[0]
