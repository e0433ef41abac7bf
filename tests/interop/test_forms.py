import numpy as np
import pytest

from flaxformers_edu.interop.forms import (
    CONV1D,
    CONV1D_FROM_HEADS,
    FROM_HEADS,
    LINEAR,
    NORM,
    TABLE,
    conv1d_part,
)

# Of what kind, the shape of our leaf, and the shape of theirs.
KERNELS = [
    (LINEAR, (5, 3), (3, 5)),
    (LINEAR, (5, 2, 3), (6, 5)),
    (FROM_HEADS, (2, 3, 5), (5, 6)),
    (CONV1D, (5, 3), (5, 3)),
    (CONV1D_FROM_HEADS, (2, 3, 5), (6, 5)),
    (TABLE, (7, 5), (7, 5)),
    (NORM, (5,), (5,)),
]


@pytest.mark.parametrize(("kind", "shape", "their_shape"), KERNELS)
def test_a_leaf_is_a_view_of_theirs_and_comes_back(kind, shape, their_shape):
    form = kind[0][2]
    assert form.their_shape(shape) == their_shape
    theirs = np.random.default_rng(0).normal(size=their_shape)
    ours = form.to_ours(theirs, shape)
    assert ours.shape == shape and np.shares_memory(ours, theirs)
    np.testing.assert_array_equal(form.to_theirs([ours]), theirs)


def test_a_linear_computes_what_theirs_does():
    """y = W x in heads, and joined again."""
    generator = np.random.default_rng(0)
    x, into, out = (generator.normal(size=shape) for shape in ((5,), (6, 5), (5, 6)))
    heads = np.einsum("d,dhk->hk", x, LINEAR[0][2].to_ours(into, (5, 2, 3)))
    np.testing.assert_allclose(heads.reshape(-1), into @ x)
    joined = np.einsum("hk,hkd->d", heads, FROM_HEADS[0][2].to_ours(out, (2, 3, 5)))
    np.testing.assert_allclose(joined, out @ heads.reshape(-1))


def test_three_parts_side_by_side():
    theirs = np.random.default_rng(0).normal(size=(5, 18))
    kernels, biases = zip(*(conv1d_part(i, 3) for i in range(3)), strict=True)
    forms = [form for _, _, form in kernels]
    assert forms[1].their_shape((5, 2, 3)) == (5, 18)
    parts = [form.to_ours(theirs, (5, 2, 3)) for form in forms]
    np.testing.assert_array_equal(parts[1][:, 1, 0], theirs[:, 6 + 3])
    np.testing.assert_array_equal(forms[0].to_theirs(parts), theirs)
    bias = np.arange(18.0)
    np.testing.assert_array_equal(biases[2][2].to_ours(bias, (2, 3)), [[12, 13, 14], [15, 16, 17]])
