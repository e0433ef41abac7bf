"""Ladders before they run: their points, what they cost, and what the command line may change."""

import dataclasses
import sys

import pytest

from flaxformers_edu.errors import InputError
from tests.train.scaling import tiny_ladder as tiny
from train.__main__ import main
from train.commands.arguments import load_config
from train.scaling.ladder import Point, cost_of, make_points
from train.scaling.table import plan_table

LADDERS = ["stdlib", "learning_rates", "pod"]


def load(name):
    base = load_config(f"configs/scaling/{name}.py")
    return base, sys.modules["flaxformers_edu_config"].ladder


@pytest.mark.parametrize("name", LADDERS)
def test_points_of_a_profile_take_the_same_compute(name):
    base, ladder = load(name)
    points = make_points(ladder, base, base)
    for point in points:
        if point.budget:
            # To half a step: the shortest run has 60.
            assert cost_of(point.experiment).flops == pytest.approx(point.budget, rel=0.01)
        point.experiment.schedule.build(point.experiment.steps)


def test_the_stdlib_ladder_has_profiles_and_a_row_of_whole_texts():
    base, ladder = load("stdlib")
    points = make_points(ladder, base, base)
    budgets = [point.budget for point in points]
    for budget in {budget for budget in budgets if budget}:
        assert budgets.count(budget) >= 3
    whole = {p.experiment.steps for p in points if not p.budget}
    assert whole == {max(p.experiment.steps for p in points)}
    factors = {p.experiment.model.hidden_size: p.experiment.optimizer.rate_factors for p in points}
    assert factors[64][0][1] == 0.5


def test_the_learning_rate_ladder_compares_the_parametrisations():
    base, ladder = load("learning_rates")
    points = make_points(ladder, base, base)
    by_kind = {}
    for p in points:
        kind = p.experiment.model.mup_base_width > 0
        assert bool(p.experiment.optimizer.rate_factors) == kind
        size = (p.experiment.model.hidden_size, p.experiment.schedule.peak)
        by_kind.setdefault(kind, set()).add(size)
    assert by_kind[True] == by_kind[False]


def test_the_pods_ladder_reaches_gpt3_with_its_own_compute():
    base, ladder = load("pod")
    [largest] = [p for p in make_points(ladder, base, base) if p.name.startswith("175b")]
    cost = cost_of(largest.experiment)
    assert cost.total_params == 174_604_259_328
    assert cost.tokens == pytest.approx(300e9, rel=0.02)  # Brown et al. 2020, table D.1


def test_costs_count_what_they_say(tmp_path):
    experiment = tiny.base(str(tmp_path))
    cost = cost_of(experiment)
    V, D, T = 40, 8, 16
    assert cost.total_params - cost.params == V * D + T * D
    assert cost.tokens == 4 * 128
    # Products alone: 4 D² of attention, 2 D² of the feed-forward network, the head and, on
    # average, (T + 1) / 2 keys for each query; 2 FLOPs each, three times.
    forward = 2 * (6 * D * D + V * D + 2 * D * (T + 1) / 2)
    assert cost.flops_per_token == pytest.approx(3 * forward)
    assert cost.six_nd == 6 * cost.total_params * cost.tokens


def test_a_changed_field_reaches_every_point(tmp_path):
    default = tiny.base(str(tmp_path))
    given = dataclasses.replace(default, seed=7)
    assert {p.experiment.seed for p in make_points(tiny.ladder, default, given)} == {7}


def test_a_field_of_the_ladder_cannot_be_changed(tmp_path):
    default = tiny.base(str(tmp_path))
    given = dataclasses.replace(default, steps=9)
    with pytest.raises(InputError, match=r"steps is set by the ladder itself \(\d+ at width4-1e"):
        make_points(tiny.ladder, default, given)


def test_losses_that_cannot_be_compared_make_no_ladder(tmp_path):
    base = tiny.base(str(tmp_path))
    other = dataclasses.replace(base, model=dataclasses.replace(base.model, vocab_size=41))
    with pytest.raises(InputError, match="different vocabularies"):
        make_points(lambda b: [Point("a", base), Point("b", other)], base, base)
    with pytest.raises(InputError, match="a name of its own"):
        make_points(lambda b: [Point("a", base), Point("a", base)], base, base)


def test_the_plan_lists_every_point(tmp_path):
    text = plan_table(tiny.ladder(tiny.base(str(tmp_path))))
    assert text.count("\n| width") == 4
    assert "4 points" in text


def test_dry_run_of_the_command(capsys):
    assert main(["sweep", "configs/scaling/pod.py", "--dry-run"]) == 0
    assert "| 175b-3.14e23 | 173,961,535,488 |" in capsys.readouterr().out


def test_a_config_without_a_ladder(capsys):
    assert main(["sweep", "configs/translate_toy.py"]) == 2
    assert "has no function ladder(base)" in capsys.readouterr().err
