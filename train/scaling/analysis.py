"""Every law that a ladder's points allow, how sure it is, and how well it extrapolates."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from flaxformers_edu.errors import InputError
from train.scaling.bootstrap import HeldOut, Interval, intervals
from train.scaling.fits import (
    ChinchillaLaw,
    KaplanLaw,
    PowerLaw,
    fit_chinchilla,
    fit_kaplan,
    fit_power_law,
)
from train.scaling.measured import Measured, column
from train.scaling.optima import Optima, Profile, envelope, isoflop_profiles, optima_of

Points = Sequence[Measured]
SAME_TOKENS = 0.1
"""Runs whose tokens differ by less than this part of them count as of the same length."""
HELD_OUT_ABOVE = 0.5
"""Points of more than this part of the largest compute are held out."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One law: its numbers with their bands, or why it could not be fitted."""

    title: str
    num_points: int
    values: Mapping[str, Interval]
    missing: str = ""


@dataclasses.dataclass(frozen=True)
class Analysis:
    """All that is known of a ladder."""

    points: Points
    findings: tuple[Finding, ...]
    chinchilla: ChinchillaLaw
    kaplan: KaplanLaw
    profiles: Sequence[Profile]
    frontier: Optima | None
    """Of the envelope of training curves; None where it cannot be told."""
    held_out: Mapping[str, HeldOut]
    """By law."""


def analyse(points: Points, *, resamples: int = 200, seed: int = 0) -> Analysis:
    """Fits Kaplan's forms and Chinchilla's three approaches to finished points.

    Kaplan's laws count parameters without embeddings, Chinchilla's count all, as in the papers.

    Raises:
        InputError: fewer points than L(N, D) has unknowns.
    """
    chinchilla, kaplan = chinchilla_law(points), kaplan_law(points)

    def parametric(drawn: Points) -> dict[str, float]:
        law = chinchilla_law(drawn, near=chinchilla)
        a, b = law.exponents
        return {**dataclasses.asdict(law), "a": a, "b": b}

    def joint(drawn: Points) -> dict[str, float]:
        law = kaplan_law(drawn, near=kaplan)
        return {"alpha_N": law.alpha_n, "alpha_D": law.alpha_d, "N_c": law.n_c, "D_c": law.d_c}

    plans: list[tuple[str, Points, Callable[[Points], dict[str, float]]]] = [
        ("Kaplan 1.1: L(N), most data", longest(points), lambda p: loss_law(p, "params", "N")),
        ("Kaplan 1.2: L(D), largest model", largest(points), lambda p: loss_law(p, "tokens", "D")),
        ("Kaplan 1.3: L(C), envelope", points, frontier_law),
        ("Kaplan 1.5: L(N, D)", points, joint),
        ("Chinchilla 1: envelope", points, lambda p: exponents_of(frontier_of(p))),
        ("Chinchilla 2: IsoFLOP", points, lambda p: exponents_of(optima_of(profiles_of(p)))),
        ("Chinchilla 3: L(N, D)", points, parametric),
    ]
    findings = []
    for title, chosen, fit in plans:
        try:
            values = intervals(chosen, fit, resamples=resamples, seed=seed)
            findings.append(Finding(title, len(chosen), values))
        except InputError as reason:
            findings.append(Finding(title, len(chosen), {}, str(reason)))
    try:
        frontier = frontier_of(points)
    except InputError:
        frontier = None
    profiles = profiles_of(points)
    return Analysis(
        points, tuple(findings), chinchilla, kaplan, profiles, frontier, extrapolate(points)
    )


def chinchilla_law(points: Points, near: ChinchillaLaw | None = None) -> ChinchillaLaw:
    """Approach 3."""
    columns = (column(points, name) for name in ("total_params", "tokens", "loss"))
    return fit_chinchilla(*columns, near=near)


def kaplan_law(points: Points, near: KaplanLaw | None = None) -> KaplanLaw:
    """Equation 1.5."""
    columns = (column(points, name) for name in ("params", "tokens", "loss"))
    return fit_kaplan(*columns, near=near)


def loss_law(points: Points, field: str, letter: str) -> dict[str, float]:
    """Equations 1.1 and 1.2: a line through log losses."""
    if len(points) < 3:
        raise InputError(f"needs 3 points that differ in {letter} alone, there are {len(points)}")
    law = fit_power_law(column(points, field), column(points, "loss"))
    return {f"alpha_{letter}": -law.exponent, f"{letter}_c": law.constant}


def frontier_of(points: Points) -> Optima:
    """Approach 1."""
    return envelope([point.as_curve() for point in points])


def frontier_law(points: Points) -> dict[str, float]:
    """Equation 1.3."""
    law: PowerLaw = frontier_of(points).loss_law
    return {"alpha_C": -law.exponent, "C_c": law.constant}


def profiles_of(points: Points) -> list[Profile]:
    """Approach 2."""
    fields = ("total_params", "tokens", "loss", "flops", "budget")
    return isoflop_profiles(*(column(points, field) for field in fields))


def exponents_of(optima: Optima) -> dict[str, float]:
    """A and b of N_opt ~ C^a and D_opt ~ C^b."""
    return {"a": optima.params_law.exponent, "b": optima.tokens_law.exponent}


def longest(points: Points) -> Points:
    """The runs on the most data: all of about the same length."""
    most = max(point.tokens for point in points)
    return [point for point in points if point.tokens > (1 - SAME_TOKENS) * most]


def largest(points: Points) -> Points:
    """The runs of the largest model that has at least three lengths; of the largest without one."""
    sizes = sorted({point.total_params for point in points}, reverse=True)
    of_size = {size: [p for p in points if p.total_params == size] for size in sizes}
    return next((of for of in of_size.values() if len(of) >= 3), of_size[sizes[0]])


def extrapolate(points: Points) -> dict[str, HeldOut]:
    """Both laws of (N, D), fitted without the points of the most compute, against those points."""
    most = max(point.flops for point in points)
    kept = [point for point in points if point.flops <= HELD_OUT_ABOVE * most]
    rest = [point for point in points if point.flops > HELD_OUT_ABOVE * most]
    if len(kept) < 5:
        return {}
    names, measured_P = tuple(point.name for point in rest), column(rest, "loss")
    tokens_P = column(rest, "tokens")
    predicted = {
        "Kaplan 1.5": kaplan_law(kept)(column(rest, "params"), tokens_P),
        "Chinchilla 3": chinchilla_law(kept)(column(rest, "total_params"), tokens_P),
    }
    factor = most / max(point.flops for point in kept)
    return {law: HeldOut(names, measured_P, p_P, factor) for law, p_P in predicted.items()}
