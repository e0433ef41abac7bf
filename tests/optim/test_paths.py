import jax.numpy as jnp
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.optim.matrices import as_matrices, axes_of, per_layer
from flaxformers_edu.optim.paths import map_with_names, match_paths

PARAMS = {
    "encoder": {"layers": {"mlp": {"up": {"kernel": jnp.ones((2, 3, 4)), "bias": jnp.ones(2)}}}},
    "embedding": {"embedding": jnp.ones((5, 3))},
}


def test_names_are_joined_by_slashes():
    assert map_with_names(lambda name, _: name, PARAMS) == {
        "encoder": {
            "layers": {
                "mlp": {
                    "up": {
                        "kernel": "encoder/layers/mlp/up/kernel",
                        "bias": "encoder/layers/mlp/up/bias",
                    }
                }
            }
        },
        "embedding": {"embedding": "embedding/embedding"},
    }


def test_any_pattern_is_enough_and_none_covers_nothing():
    matched = match_paths(PARAMS, [r"/bias$", r"^embedding/"])
    assert matched["encoder"]["layers"]["mlp"]["up"] == {"kernel": False, "bias": True}
    assert matched["embedding"] == {"embedding": True}
    assert match_paths(PARAMS, [])["embedding"] == {"embedding": False}


def test_a_pattern_without_effect_is_an_error_that_names_the_nearest():
    with pytest.raises(InputError, match=r"'encoder/layer/mlp/up/kernel' covers no.*layers/mlp/up"):
        match_paths(PARAMS, [r"bias", "encoder/layer/mlp/up/kernel"])


def test_a_malformed_pattern_is_an_error():
    with pytest.raises(InputError, match="no regular expression"):
        match_paths(PARAMS, ["("])


@pytest.mark.parametrize(
    "name, ndim, expected",
    [
        ("encoder/layers/attention/query/kernel", 4, (1, 1, 2)),
        ("encoder/layers/attention/query/bias", 3, (1, 0, 2)),
        ("decoder/layers/3/self_attention/value/kernel", 3, (0, 1, 2)),
        ("decoder/layers/cross_attention/out/kernel", 4, (1, 2, 1)),
        ("decoder/layers/cross_attention/output/kernel", 4, (1, 2, 1)),
        ("decoder/layers/cross_attention/out/bias", 2, (1, 0, 1)),
        ("encoder/layers/mlp/up/kernel", 3, (1, 1, 1)),
        ("encoder/layers/mlp/output/kernel", 3, (1, 1, 1)),
        ("encoder/layers/attention_norm/scale", 2, (1, 0, 1)),
        ("encoder/final_norm/scale", 1, (0, 0, 1)),
        ("embedding/embedding", 2, (0, 1, 1)),
        ("logits/kernel", 2, (0, 1, 1)),
        ("temperature", 0, (0, 0, 0)),
    ],
)
def test_axes_by_name(name, ndim, expected):
    assert axes_of(name, ndim) == expected


def test_stacked_layers_are_seen_one_by_one():
    kernel = jnp.arange(24.0).reshape(2, 3, 4)
    total = per_layer(lambda x: x / x.sum())({"layers": {"up": {"kernel": kernel}}})
    expected = kernel / jnp.array([66.0, 210.0])[:, None, None]  # 0+...+11 and 12+...+23
    assert jnp.allclose(total["layers"]["up"]["kernel"], expected)


def test_heads_are_joined():
    tree = {"layers": {"attention": {"query": {"kernel": jnp.arange(48.0).reshape(2, 4, 3, 2)}}}}
    joined = as_matrices(tree)["layers"]["attention"]["query"]["kernel"]
    assert joined.shape == (2, 4, 6)
    assert jnp.array_equal(joined[1, 2], jnp.arange(36.0, 42.0))
