"""A whole ladder whose law is known: what is found in it, how sure, and how it is shown."""

import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from train.scaling.analysis import analyse, largest, longest
from train.scaling.fits import ChinchillaLaw
from train.scaling.measured import Measured, read_points, write_points
from train.scaling.plots import draw_all, learning_rates
from train.scaling.table import findings_table, loss_table

LAW = ChinchillaLaw(E=1.1, A=30.0, B=200.0, alpha=0.35, beta=0.4)
BUDGETS = (1e10, 4e10, 1.6e11)


def point(size, tokens, budget, noise):
    seen = np.linspace(0.25, 1, 4) * tokens
    loss = LAW(size, seen) * noise
    return Measured(
        name=f"{size}-{tokens:.0f}",
        params=size,
        total_params=size,
        width=size,
        learning_rate=0.1,
        parametrisation="muP",
        budget=budget,
        flops_per_token=6.0 * size,
        tokens=tokens,
        loss=float(loss[-1]),
        curve=tuple(zip(seen.tolist(), loss.tolist(), strict=True)),
    )


@pytest.fixture(scope="module")
def ladder():
    rng = np.random.default_rng(0)
    points = []
    for budget in BUDGETS:
        best = float(LAW.optimum(budget)[0])
        for factor in (0.4, 0.6, 1.0, 1.6, 2.5):
            size = round(best * factor)
            noise = np.exp(rng.normal(0, 0.001))
            points.append(point(size, budget / (6 * size), budget, noise))
    return [*points, *(point(round(n), 4e6, 0.0, 1.0) for n in (1e3, 3e3, 9e3))]


@pytest.fixture(scope="module")
def analysis(ladder):
    return analyse(ladder, resamples=10)


def test_all_approaches_agree_with_the_law(analysis):
    values = {finding.title: finding.values for finding in analysis.findings}
    a, b = LAW.exponents
    assert values["Chinchilla 3: L(N, D)"]["a"].value == pytest.approx(a, abs=0.05)
    assert values["Chinchilla 2: IsoFLOP"]["a"].value == pytest.approx(a, abs=0.08)
    assert values["Chinchilla 2: IsoFLOP"]["b"].value == pytest.approx(b, abs=0.08)
    assert values["Chinchilla 1: envelope"]["a"].value == pytest.approx(a, abs=0.15)
    for found in values["Chinchilla 3: L(N, D)"].values():
        assert found.low <= found.value <= found.high


def test_what_was_held_out_is_the_most_compute(analysis, ladder):
    held = analysis.held_out["Chinchilla 3"]
    most = {p.name for p in ladder if p.budget == BUDGETS[-1]}
    assert most <= set(held.names)
    assert held.mean_error < 0.03
    assert held.factor > 2


def test_laws_of_one_variable_take_points_that_differ_in_it_alone(ladder):
    assert {p.tokens for p in longest(ladder)} == {4e6}
    assert len({p.total_params for p in largest(ladder)}) == 1


def test_a_law_that_the_ladder_does_not_allow_says_why(analysis):
    [finding] = [f for f in analysis.findings if f.title.startswith("Kaplan 1.2")]
    assert finding.missing == "needs 3 points that differ in D alone, there are 1"
    assert not finding.values


def test_too_few_points(ladder):
    with pytest.raises(InputError, match="at least 5 points, got 4"):
        analyse(ladder[:4])


def test_tables_and_pictures(analysis, tmp_path):
    text = findings_table(analysis)
    assert "| Chinchilla 3: L(N, D)" in text
    assert "held out, Kaplan 1.5:" in text
    files = draw_all(tmp_path, analysis)
    names = ["scaling_laws.png", "scaling_residuals.png", "scaling_isoflop.png"]
    assert [file.name for file in files] == names
    assert all(file.stat().st_size > 10_000 for file in files)


def test_the_best_rate_of_each_width_is_marked(tmp_path):
    rows = {16: {0.01: 3.0, 0.02: 2.5}, 32: {0.01: 2.0, 0.02: 2.25}}
    text = loss_table(rows, "muP")
    assert "**2.500**" in text and "**2.000**" in text
    assert "**3.000**" not in text and "**2.250**" not in text
    path = learning_rates(tmp_path / "rates.png", {"muP": rows, "standard": rows})
    assert path.stat().st_size > 10_000


def test_points_survive_their_file(ladder, tmp_path):
    write_points(tmp_path / "points.json", ladder)
    assert read_points(tmp_path / "points.json") == ladder
