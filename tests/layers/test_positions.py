"""Positions against their formulas, written out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.positions import LearnedPositions, RopeScaling, Rotary, sinusoidal


@pytest.mark.parametrize("hidden_size", [6, 7])
def test_sinusoidal_is_the_formula(hidden_size):
    positions = np.array([[0, 1, 2, 50], [7, 3, 1000, 0]])
    table = sinusoidal(jnp.asarray(positions), hidden_size)
    for b, t in np.ndindex(positions.shape):
        for feature in range(hidden_size):
            angle = positions[b, t] / 10000 ** (2 * (feature // 2) / hidden_size)
            expected = math.sin(angle) if feature % 2 == 0 else math.cos(angle)
            assert float(table[b, t, feature]) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("hidden_size", [6, 7])
def test_layouts_are_permutations_of_each_other(hidden_size):
    positions = jnp.arange(20)[None]
    interleaved = sinusoidal(positions, hidden_size, "interleaved")
    halves = sinusoidal(positions, hidden_size, "halves")
    order = [*range(0, hidden_size, 2), *range(1, hidden_size, 2)]
    np.testing.assert_array_equal(halves, interleaved[..., np.array(order)])


def test_learned_positions_and_their_offset():
    module = LearnedPositions(max_positions=5, hidden_size=3, offset=2)
    positions = jnp.array([[0, 4, 2]])
    boxed = module.init(jax.random.key(0), positions)["params"]["embedding"]
    assert boxed.names == ("positions", "embed")
    assert boxed.value.shape == (7, 3)
    out = module.apply({"params": {"embedding": boxed.value}}, positions)
    np.testing.assert_array_equal(out, boxed.value[np.array([[2, 6, 4]])])


def heads(seed, T=5, K=8, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), (2, T, 3, K), dtype)


def as_complex(x, layout):
    x = np.asarray(x, np.float64)
    if layout == "halves":
        a, b = np.split(x, 2, axis=-1)
    else:
        a, b = x[..., 0::2], x[..., 1::2]
    return a + 1j * b


@pytest.mark.parametrize("layout", ["halves", "interleaved"])
def test_rotary_multiplies_by_a_complex_number(layout):
    """Pair i at position p becomes z · exp(j p θ^(-2i/K))."""
    x, positions = heads(0), np.array([[0, 1, 2, 3, 4], [9, 7, 5, 3, 100]])
    turned = Rotary(theta=500.0, layout=layout)(x, jnp.asarray(positions))
    angle = positions[:, :, None, None] * 500.0 ** (-2 * np.arange(4) / 8)
    expected = as_complex(x, layout) * np.exp(1j * angle)
    np.testing.assert_allclose(as_complex(turned, layout), expected, atol=5e-5)


@pytest.mark.parametrize("layout", ["halves", "interleaved"])
def test_rotary_scores_depend_on_the_distance_alone(layout):
    rotary = Rotary(layout=layout)
    q, k = heads(1), heads(2)
    positions = jnp.array([[3, 1, 4, 1, 5]])

    def scores(shift):
        turned_q, turned_k = rotary(q, positions + shift), rotary(k, positions + shift)
        return jnp.einsum("BTHK,BSHK->BHTS", turned_q, turned_k)

    np.testing.assert_allclose(scores(0), scores(40), atol=1e-4)
    moved = jnp.einsum("BTHK,BSHK->BHTS", rotary(q, positions + 1), rotary(k, positions))
    assert np.abs(moved - scores(0)).max() > 0.1


def test_rotary_defaults_to_the_index_and_keeps_the_dtype():
    x = heads(0, dtype=jnp.bfloat16)
    turned = Rotary()(x, None)
    assert turned.dtype == jnp.bfloat16
    np.testing.assert_array_equal(turned, Rotary()(x, jnp.arange(5)[None]))
    np.testing.assert_array_equal(turned[:, 0], x[:, 0])


def test_a_stretched_context_slows_down_the_pairs_that_turn_least():
    """By the definition in the released code: wavelengths, two borders, a mixture in between."""
    scaling = RopeScaling(
        factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_length=64
    )
    rates = 10.0 ** -np.linspace(0, 3, 13)
    waves = 2 * np.pi / rates
    mixed = (64 / waves - 1) / (4 - 1)
    expected = np.where(
        waves > 64, rates / 8, np.where(waves < 16, rates, (1 - mixed) * rates / 8 + mixed * rates)
    )
    kinds = {"slow": waves > 64, "kept": waves < 16, "mixed": (waves >= 16) & (waves <= 64)}
    assert all(kind.any() for kind in kinds.values())
    np.testing.assert_allclose(scaling(jnp.asarray(rates, jnp.float32)), expected, rtol=1e-6)
    x = heads(0)
    rotary = Rotary(theta=500.0, scaling=scaling)
    turned = rotary(x, jnp.full((1, 5), 7))
    angle = 7 * np.asarray(scaling(jnp.asarray(500.0 ** (-2 * np.arange(4) / 8), jnp.float32)))
    np.testing.assert_allclose(
        as_complex(turned, "halves"), as_complex(x, "halves") * np.exp(1j * angle), atol=1e-5
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"factor": 0.5}, "factor 0.5 .*at least 1"),
        ({"original_max_length": 0}, "original_max_length 0; both"),
        ({"high_freq_factor": 1.0}, "low_freq_factor 1.0 and high_freq_factor 1.0; .*larger"),
        ({"low_freq_factor": 0.0}, "low_freq_factor 0.0"),
    ],
)
def test_a_stretch_that_makes_no_sense(fields, message):
    with pytest.raises(InputError, match=message):
        RopeScaling(**fields)
