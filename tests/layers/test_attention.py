"""Every attention implementation against the definition in numpy.

Dims: B batch, T queries, S keys, H query heads, G key/value heads, K head_dim, W value head_dim.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.attention import _mask_arguments, choose, dot_product_attention
from flaxformers_edu.layers.masks import Mask
from tests.layers import definitions

B, T, H, G, K = 2, 7, 4, 2, 8
LEFT_PADDED = np.array([[0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]], bool)
SEGMENTS = np.array([[1, 1, 2, 2, 2, 3, 0], [1, 1, 1, 1, 2, 0, 0]], np.int32)
PACKED = {"query_segments_BT": SEGMENTS, "key_segments_BS": SEGMENTS}
LENGTHS = np.array([4, 7], np.int32)

MASKS = {
    "none": Mask(),
    "causal": Mask(causal=True),
    "lengths": Mask(key_lengths_B=LENGTHS),
    "lengths and causal": Mask(key_lengths_B=LENGTHS, causal=True),
    "left padding": Mask(key_mask_BS=LEFT_PADDED),
    "left padding and causal": Mask(key_mask_BS=LEFT_PADDED, causal=True),
    "segments": Mask(**PACKED),
    "segments and causal": Mask(**PACKED, causal=True),
    "window": Mask(window=3),
    "window and causal": Mask(window=3, causal=True),
    "lengths, window and causal": Mask(key_lengths_B=LENGTHS, window=2, causal=True),
    "lengths and window": Mask(key_lengths_B=LENGTHS, window=3),
    "everything": Mask(
        **PACKED, causal=True, window=2, key_mask_BS=LEFT_PADDED, key_lengths_B=LENGTHS
    ),
    "no keys in one row": Mask(key_lengths_B=np.array([0, 7], np.int32)),
}
NEEDS_POSITIONS = {
    "cached positions and window": Mask(
        window=3,
        causal=True,
        query_positions_BT=np.array([[3, 4, 5, 6, 7, 8, 9], [0, 1, 2, 3, 4, 5, 6]]),
        key_positions_BS=np.array([[0, 2, 4, 6, 8, 1, 3], [6, 5, 4, 3, 2, 1, 0]]),
    ),
    "visible": Mask(visible_BTS=np.random.default_rng(1).random((B, T, T)) < 0.4),
}
CUDNN = pytest.param(
    "cudnn",
    marks=pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN needs a GPU"),
)


def tensors(T=T, S=T, H=H, G=G, K=K, W=K, dtype=np.float32):
    generator = np.random.default_rng(0)
    shapes = [(B, T, H, K), (B, S, G, K), (B, S, G, W), (B, T, H, W)]
    return [jnp.asarray(generator.normal(size=shape), dtype) for shape in shapes]


@functools.partial(jax.jit, static_argnames="implementation")
def forward(q, k, v, mask, implementation):
    return dot_product_attention(q, k, v, mask, implementation=implementation)


@functools.partial(jax.jit, static_argnames="implementation")
def forward_and_backward(q, k, v, d_out, mask, implementation):
    """The output and the gradients of sum(output * d_out)."""
    out, pull = jax.vjp(
        lambda q, k, v: dot_product_attention(q, k, v, mask, implementation=implementation), q, k, v
    )
    return out, pull(d_out)


def check(mask, implementation, q, k, v, d_out, *, atol=2e-5, gradients=True):
    allowed = definitions.allowed_BTS(mask, B, q.shape[1], k.shape[1])
    mask = jax.tree.map(jnp.asarray, mask)
    if gradients:
        out, found = forward_and_backward(q, k, v, d_out, mask, implementation)
        wanted = definitions.attention_gradients(q, k, v, allowed, d_out)
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(np.asarray(ours, np.float32), theirs, atol=4 * atol)
    else:
        out = forward(q, k, v, mask, implementation)
    expected, _ = definitions.attention(q, k, v, allowed)
    assert out.dtype == q.dtype
    np.testing.assert_allclose(np.asarray(out, np.float32), expected, atol=atol)
    empty_BT = ~allowed.any(axis=-1)
    assert not np.asarray(out)[empty_BT].any(), "a query without keys must give exact zeros"


@pytest.mark.parametrize("implementation", ["reference", "xla", CUDNN])
@pytest.mark.parametrize("name", MASKS)
def test_every_implementation_equals_the_definition(name, implementation):
    half = implementation == "cudnn"
    values = tensors(dtype=jnp.bfloat16 if half else np.float32)
    check(MASKS[name], implementation, *values, atol=2e-2 if half else 2e-5)


# The interpreter is slow to compile: each of the kernel's masks, and padding and packing, once.
@pytest.mark.parametrize(
    ("name", "gradients"),
    [
        ("none", False),
        ("left padding", False),
        ("window", False),
        ("lengths, window and causal", True),
        ("segments and causal", True),
        ("no keys in one row", True),
    ],
)
def test_splash_equals_the_definition(name, gradients):
    check(MASKS[name], "splash", *tensors(), gradients=gradients)


@pytest.mark.parametrize("implementation", ["reference", "xla"])
@pytest.mark.parametrize("name", NEEDS_POSITIONS)
def test_masks_with_positions(name, implementation):
    check(NEEDS_POSITIONS[name], implementation, *tensors())


@pytest.mark.parametrize(("num_queries", "num_keys"), [(3, 7), (7, 3)])
@pytest.mark.parametrize(
    ("mask", "implementation"),
    [
        (Mask(), "xla"),
        (Mask(causal=True), "reference"),
        (Mask(causal=True), "xla"),
        (Mask(causal=True), "splash"),
        (Mask(causal=True, window=2), "reference"),
        (Mask(causal=True, window=2), "xla"),
        (Mask(window=2), "xla"),
        (Mask(window=2), "splash"),
    ],
    ids=str,
)
def test_other_numbers_of_keys_than_queries(mask, implementation, num_queries, num_keys):
    """Causal by index, from the first query on; late queries may fall off a window's end."""
    values = tensors(T=num_queries, S=num_keys)
    check(mask, implementation, *values, gradients=implementation != "splash")


@pytest.mark.parametrize("implementation", ["reference", "xla"])
def test_one_key_value_head_for_all(implementation):
    check(Mask(causal=True), implementation, *tensors(G=1))


@pytest.mark.parametrize("implementation", ["reference", "xla", "splash"])
def test_bfloat16(implementation):
    values = tensors(dtype=jnp.bfloat16)
    gradients = implementation != "splash"
    check(MASKS["left padding and causal"], implementation, *values, atol=3e-2, gradients=gradients)


def test_softmax_is_in_float32_whatever_the_inputs():
    """bfloat16 has 8 bits: scores of 256 and 257 would be equal in it, and the weights a half."""
    q = jnp.ones((1, 1, 1, 2), jnp.bfloat16)
    k = jnp.asarray([[[[128, 128]], [[128, 129]]]], jnp.bfloat16)
    v = jnp.asarray([[[[0.0, 0.0]], [[1.0, 1.0]]]], jnp.bfloat16)
    out = dot_product_attention(q, k, v, scale=1.0, implementation="reference")
    assert float(out[0, 0, 0, 0]) == pytest.approx(1 / (1 + np.exp(-1.0)), abs=5e-3)


def test_values_of_another_width():
    q, k, v, d_out = tensors(W=5)
    check(Mask(causal=True), "reference", q, k, v, d_out)
    check(Mask(causal=True), "auto", q, k, v, d_out)
    for implementation in ("xla", "splash"):
        with pytest.raises(InputError, match="head_dim 8, got 5"):
            dot_product_attention(q, k, v, implementation=implementation)


def test_scale():
    q, k, v, _ = tensors()
    allowed = np.ones((B, T, T), bool)
    expected, _ = definitions.attention(q, k, v, allowed, scale=1.0)
    for implementation in ("reference", "xla", "splash"):
        out = jax.jit(
            functools.partial(dot_product_attention, scale=1.0, implementation=implementation)
        )(q, k, v)
        np.testing.assert_allclose(out, expected, atol=2e-5)


def test_large_scores_do_not_overflow():
    q, k, v, d_out = tensors()
    check(MASKS["left padding"], "reference", q * 30, k * 30, v, d_out, atol=5e-3, gradients=False)


def test_dropout_acts_on_the_weights():
    """The kept weights grow by 1 / (1 - rate); with identity values the output is the weights."""
    S = 64
    q, k, _, _ = tensors(T=33, S=S, H=4, G=2)
    v = jnp.broadcast_to(jnp.eye(S)[None, :, None], (B, S, 2, S))

    @functools.partial(jax.jit, static_argnums=0)
    def weights(rate, key):
        return dot_product_attention(q, k, v, dropout_rate=rate, dropout_key=key)

    plain = weights(0.25, None)
    dropped = weights(0.25, jax.random.key(1))
    kept = np.asarray(dropped) != 0
    np.testing.assert_allclose(dropped[kept], plain[kept] / 0.75, rtol=1e-5)
    n = kept.size
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / n)
    np.testing.assert_array_equal(dropped, weights(0.25, jax.random.key(1)))
    assert (kept != (np.asarray(weights(0.25, jax.random.key(2))) != 0)).any()
    # Heads that share keys and values do not share their dropout.
    assert (kept[:, :, 0] != kept[:, :, 1]).any()


@pytest.mark.parametrize("implementation", ["xla", "cudnn", "splash"])
def test_dropout_is_refused_where_there_is_none(implementation):
    q, k, v, _ = tensors()
    with pytest.raises(InputError, match="'reference'"):
        dot_product_attention(
            q,
            k,
            v,
            implementation=implementation,
            dropout_rate=0.1,
            dropout_key=jax.random.key(0),
        )


def test_unknown_implementation_names_the_nearest():
    q, k, v, _ = tensors()
    # The type checker of the tests would refuse the name before the library can.
    attend = getattr(dot_product_attention, "__wrapped__", dot_product_attention)
    with pytest.raises(InputError, match="did you mean 'splash'"):
        attend(q, k, v, implementation="spalsh")


def test_heads_that_do_not_divide():
    q, k, v, _ = tensors(H=4, G=3)
    with pytest.raises(InputError, match="num_heads 4 is not a multiple of num_kv_heads 3"):
        dot_product_attention(q, k, v)


NATIVE = {
    "causal": {"is_causal"},
    "lengths": {"key_value_seq_lengths"},
    "lengths and causal": {"is_causal", "key_value_seq_lengths"},
    "window and causal": {"is_causal", "local_window_size"},
    "lengths, window and causal": {"is_causal", "key_value_seq_lengths", "local_window_size"},
}


@pytest.mark.parametrize("name", MASKS)
def test_arguments_of_jax_nn(name):
    """Masks that jax.nn has words for are handed over in them; the words mean what `dense` says."""
    mask = jax.tree.map(jnp.asarray, MASKS[name])
    arguments = _mask_arguments(mask, T, T)
    native = {key for key, value in arguments.items() if value is not None and value is not False}
    assert native == NATIVE.get(name, native)
    assert (arguments.get("mask") is None) == (name in {"none", "no keys in one row", *NATIVE})
    if "local_window_size" in arguments:
        # The query itself is not one of its neighbours.
        assert arguments["local_window_size"] == (mask.window - 1, 0)
    allowed = definitions.allowed_BTS(mask, B, T, T)
    # Uniform scores over identity values: the output is 1/n at the n keys that are seen.
    zeros = jnp.zeros((B, T, 1, T))
    eye = jnp.broadcast_to(jnp.eye(T)[None, :, None], (B, T, 1, T))
    seen = jax.nn.dot_product_attention(zeros, zeros, eye, implementation="xla", **arguments)
    real = allowed.any(axis=-1)
    np.testing.assert_array_equal(np.asarray(seen)[:, :, 0][real] > 0, allowed[real])


def test_auto_takes_the_reference_on_cpu():
    assert choose(*tensors()[:3], Mask()) == "reference"


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
def test_auto_never_picks_what_raises(backend, monkeypatch):
    """Over widths, lengths, dtypes and masks: the choice is traced, so that its checks run."""
    masks = {**MASKS, **NEEDS_POSITIONS}
    names = ["none", "everything", "visible", "cached positions and window", "keys' positions"]
    masks["keys' positions"] = Mask(causal=True, key_positions_BS=np.arange(T)[None])
    cases = itertools.product(
        [(1, 512), (511, 512), (512, 511), (64, 64), (512, 512)],
        [(8, 8), (12, 12), (8, 5), (256, 256)],
        [jnp.float32, jnp.bfloat16],
        names,
    )
    for (num_queries, num_keys), (width, value_width), dtype, name in cases:
        mask = jax.tree.map(jnp.asarray, masks[name])
        shaped = {
            "query_segments_BT": (B, num_queries),
            "key_segments_BS": (B, num_keys),
            "key_mask_BS": (B, num_keys),
            "query_positions_BT": (B, num_queries),
            "key_positions_BS": (B, num_keys),
            "visible_BTS": (B, num_queries, num_keys),
        }
        mask = mask.replace(
            **{
                field: jnp.zeros(shape, getattr(mask, field).dtype)
                for field, shape in shaped.items()
                if getattr(mask, field) is not None
            }
        )
        q = jax.ShapeDtypeStruct((B, num_queries, H, width), dtype)
        k = jax.ShapeDtypeStruct((B, num_keys, G, width), dtype)
        v = jax.ShapeDtypeStruct((B, num_keys, G, value_width), dtype)
        choices = []
        with monkeypatch.context() as patch:
            patch.setattr(jax, "default_backend", lambda: backend)
            jax.eval_shape(lambda *qkv: choices.append(choose(*qkv)), q, k, v, mask)  # noqa: B023
        (chosen,) = choices
        if chosen == "cudnn":
            # What jax.nn demands of cuDNN, which only a GPU could check.
            assert backend == "gpu" and dtype == jnp.bfloat16 and width == value_width
            assert width <= 128 and width % 8 == 0
            assert num_queries % 2 == 0 and num_keys % 2 == 0
        elif chosen == "splash":
            assert backend == "tpu"
            jax.eval_shape(
                functools.partial(dot_product_attention, implementation="splash"), q, k, v, mask
            )
        else:
            assert chosen == "reference" or width == value_width


@pytest.mark.parametrize(
    "mask",
    [*NEEDS_POSITIONS.values(), Mask(causal=True, key_positions_BS=np.arange(T)[None])],
    ids=["cached", "visible", "keys' positions"],
)
def test_splash_refuses_positions(mask):
    q, k, v, _ = tensors()
    with pytest.raises(InputError, match="splash"):
        dot_product_attention(q, k, v, jax.tree.map(jnp.asarray, mask), implementation="splash")
