"""Every config loads, survives its JSON, and describes a model that can be built."""

import pytest

import flaxformers_edu as ff
from train.commands.arguments import config_files, load_config
from train.saved import from_json, to_json

NAMES = sorted(config_files())


@pytest.mark.parametrize("name", NAMES)
def test_loads_and_survives_its_json(name):
    experiment = load_config(name)
    assert from_json(to_json(experiment)) == experiment
    experiment.schedule.build(experiment.steps)


@pytest.mark.parametrize("name", NAMES)
def test_docstring_names_its_command(name):
    docstring = (config_files()[name]).read_text(encoding="utf-8").split('"""')[1]
    assert f"python -m train run {name}" in docstring


def test_wmt14_has_the_papers_models():
    """Table 3 of Vaswani et al. 2017: 65 and 213 million parameters."""
    sizes = {
        size: ff.count_params(load_config(f"configs/transformer_{size}_wmt14.py").model, "base")
        for size in ("base", "big")
    }
    assert sizes == {"base": 63_082_496, "big": 214_245_376}


def test_the_base_models_schedule_is_the_papers():
    """Equation 3 with 4,000 steps of warm-up peaks at 512^-0.5 · 4000^-0.5."""
    experiment = load_config("configs/transformer_base_wmt14.py")
    rate = experiment.schedule.build(experiment.steps)
    assert float(rate(3999)) == pytest.approx(512**-0.5 * 4000**-0.5, rel=1e-6)
    assert float(rate(15_999)) == pytest.approx(512**-0.5 * 16_000**-0.5, rel=1e-6)
