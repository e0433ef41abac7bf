"""The recipes of decoders: what their papers publish, and the sizes that the small ones have."""

import pytest

from configs._gpt3 import SIZES
from flaxformers_edu.models.decoder_count import parameter_count
from train.commands.arguments import config_files, load_config

# Brown et al. 2020, table 2.1: tokens of a batch, the learning rate.
PUBLISHED = {
    "125m": (0.5e6, 6.0e-4),
    "350m": (0.5e6, 3.0e-4),
    "760m": (0.5e6, 2.5e-4),
    "1_3b": (1e6, 2.0e-4),
    "2_7b": (1e6, 1.6e-4),
    "6_7b": (2e6, 1.2e-4),
    "13b": (2e6, 1.0e-4),
    "175b": (3.2e6, 0.6e-4),
}


def seen(experiment, step):
    """Tokens that the steps before this one read."""
    batching = experiment.batching
    return batching.ramp.units_before(step) * batching.ramp_start_tokens


@pytest.mark.parametrize("size", PUBLISHED)
def test_gpt3_is_trained_as_published(size):
    tokens, rate = PUBLISHED[size]
    experiment = load_config(f"configs/gpt3_{size}.py")
    schedule, optimizer = experiment.schedule, experiment.optimizer
    assert experiment.batching.tokens_per_batch == pytest.approx(tokens, rel=0.05)
    assert schedule.peak == pytest.approx(rate)
    assert (optimizer.b1, optimizer.b2, optimizer.weight_decay) == (0.9, 0.95, 0.1)
    assert (optimizer.clip_norm, schedule.name, schedule.end_ratio) == (1.0, "cosine", 0.1)
    assert seen(experiment, schedule.warmup_steps) == pytest.approx(375e6, rel=0.01)
    assert seen(experiment, schedule.total_steps) == pytest.approx(260e9, rel=0.001)
    assert seen(experiment, experiment.steps) == pytest.approx(300e9, rel=0.001)
    ramp = experiment.batching.ramp
    assert 4e9 <= 1.001 * seen(experiment, ramp.steps) <= 12.1e9
    assert ramp.multiple_at(ramp.steps - 1) == ramp.full // 2


def test_gpt3_begins_with_32k_tokens_where_its_chips_allow():
    chips = {"125m": 4, "350m": 8, "760m": 16}
    for size in SIZES:
        first = load_config(f"configs/gpt3_{size}.py").batching.ramp_start_tokens
        assert first == 32_768 if size in chips else first > 32_768


def test_every_size_of_gpt3_has_its_config():
    names = {f"configs/gpt3_{size}.py" for size in SIZES}
    assert names == {name for name in config_files() if name.startswith("configs/gpt3_")}


@pytest.mark.parametrize("name", ["gpt_mini", "llama_mini"])
def test_small_ones_have_ten_million_parameters(name):
    model = load_config(f"configs/wikitext/{name}.py").model
    assert parameter_count(model) == pytest.approx(10e6, rel=0.02)
