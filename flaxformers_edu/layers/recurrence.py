"""One scan for every recurrent cell, with the gradients of its weights outside of it.

A cell multiplies what it remembers by the same matrices at each step. Differentiated as it stands,
the scan would add a matrix of their size to their gradients at each step, which is more traffic
than the step itself. Here the backward scan only collects the gradients of the products, and each
weight's gradient is a single product over all steps afterwards.

Layers that do not read each other, as the two directions do not, run side by side: their weights
and states are stacked, and a step has one product for all. Half as many, twice as large, are faster
where a single one does not fill the machine.

On a single CPU a recurrent layer keeps its rows as columns while it is in its loop, [P, B]: there
XLA multiplies a large matrix by a narrow one sooner than a narrow one by a large one (measured on
an Intel Xeon).

On a mesh the rows of a batch are split over all of its axes while they are in a loop, and each
device has the weights whole, gathered once before it: no step of the loop has to wait for others.

Dims: T steps, B batch, K layers side by side, I and O the inputs and outputs of a weight.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from flaxformers_edu.layers.linear import affine
from flaxformers_edu.sharding import shard

Tree = Any
Weight = Array | tuple[Array, Array]
"""A matrix [I, O], or a matrix and a bias [O]; of layers side by side, [K, I, O] and [K, O]."""
Product = Callable[[str, Float[Array, "*K B I"] | Int[Array, " B"]], Float[Array, "*K B O"]]
Cell = Callable[[Product, Tree, Tree, Tree], tuple[Tree, Tree]]
"""(product, shared, state, x) -> (state, y), where product(name, v) is v times that weight, or its
rows where v is integer, and its bias if it has one. A cell asks for each weight at most once, and
it is static: it must not close over arrays."""


def scan_cell(
    cell: Cell,
    reverse: bool,
    unroll: int,
    weights: Mapping[str, Weight],
    shared: Tree,
    state: Tree,
    xs: Tree,
    *,
    row_axis: int = 0,
    columns: bool = False,
) -> tuple[Tree, Tree]:
    """Runs a cell over the leading axis of `xs`: its last state, and its outputs step by step.

    Args:
        cell: see `Cell`; static.
        reverse: from the last step to the first; outputs stay in the order of `xs`.
        unroll: steps that are written out in each round of the loop.
        weights: by the names that the cell asks for.
        shared: what each step sees, such as the states of a source; differentiated too, summed
            step by step. How it lies on a mesh is the caller's to say: best by rows, too.
        state: before the first step: a tree of arrays [B, ...].
        xs: what step t alone sees: a tree of arrays [T, B, ...], or keys [T].
        row_axis: where the state's arrays have B: 1 if they are [K, B, ...].
        columns: whether the cell's arrays are [..., B] instead of [B, ...], with two axes beside T
            and K. Here, and in what is returned, they have the rows first all the same.

    It is differentiated backward only, and once. Leaves that are not floating, such as tokens and
    keys, have no gradients.
    """
    state = jax.tree.map(partial(by_rows, axis=row_axis), state)
    xs = jax.tree.map(partial(by_rows, axis=1), xs)
    weights = jax.tree.map(whole, weights)
    if not columns:
        return _scan(cell, reverse, unroll, False, weights, shared, state, xs)
    state, xs = _turned((state, xs))
    return _turned(_scan(cell, reverse, unroll, True, weights, shared, state, xs))


def _turned(tree: Tree) -> Tree:
    """Rows as columns, and back."""
    return jax.tree.map(lambda x: x.mT, tree)


def side_by_side(
    cell: Cell, product: Product, shared: Tree, state: Tree, xs: Sequence[Tree]
) -> tuple[Tree, tuple[Tree, ...]]:
    """A step of several layers of one kind, for `functools.partial`: weights and states [K, ...].

    The x of each layer, and its y, are its own: nothing as long as the sequence is stacked.
    """
    state, y = cell(product, shared, state, stack(xs))
    return state, unstack(y, len(xs))


def stack(trees: Sequence[Tree]) -> Tree:
    """K trees as one, whose leaves are [K, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def unstack(tree: Tree, number: int) -> tuple[Tree, ...]:
    """The K trees again."""
    return tuple(jax.tree.map(itemgetter(k), tree) for k in range(number))


def multiply(
    weights: Mapping[str, Weight], name: str, v_BI: Float[Array, "*B I"] | Int[Array, " B"]
) -> Float[Array, "*B O"]:
    """What `product` gives a cell, for `functools.partial`."""
    matrix_IO, bias_O = _parts(weights[name])
    if matrix_IO.ndim == 3:
        return jax.vmap(affine)(v_BI, matrix_IO, bias_O)
    if not jnp.issubdtype(v_BI.dtype, jnp.integer):
        return affine(v_BI, matrix_IO, bias_O)
    y_BO = jnp.take(matrix_IO, v_BI, axis=0)
    return y_BO if bias_O is None else y_BO + bias_O.reshape((1,) * (y_BO.ndim - 1) + (-1,))


def multiply_columns(
    weights: Mapping[str, Weight], name: str, v_IB: Float[Array, "*K I B"]
) -> Float[Array, "*K O B"]:
    """The same for columns, never integers; the matrices lie turned, as `_in_loop` turns them."""
    matrix_OI, bias_O = _parts(weights[name])
    y_OB = matrix_OI @ v_IB
    return y_OB if bias_O is None else y_OB + bias_O[..., None]


def _in_loop(weights: Mapping[str, Weight], columns: bool) -> Callable[[str, Array], Array]:
    """The product that a cell is given in the forward loop."""
    if not columns:
        return partial(multiply, weights)
    turned = {
        name: (_parts(weight)[0].mT, weight[1]) if isinstance(weight, tuple) else weight.mT
        for name, weight in weights.items()
    }
    return partial(multiply_columns, turned)


def by_rows(x: Array, axis: int = 0) -> Array:
    """An array whose rows, along `axis`, lie as in a loop; one without that axis, as it is."""
    if x.ndim <= axis:
        return x
    return shard(x, ["rows" if i == axis else None for i in range(x.ndim)])


def whole(x: Array) -> Array:
    """An array that every device has whole."""
    return shard(x, [None] * x.ndim)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _scan(
    cell: Cell,
    reverse: bool,
    unroll: int,
    columns: bool,
    weights: Any,
    shared: Tree,
    state: Tree,
    xs: Tree,
) -> tuple[Tree, Tree]:
    """The scan, for those who do not ask for gradients."""
    product = _in_loop(weights, columns)

    def body(state: Tree, x: Tree) -> tuple[Tree, Tree]:
        return cell(product, shared, state, x)

    return jax.lax.scan(body, state, xs, reverse=reverse, unroll=unroll)


def _forward(
    cell: Cell,
    reverse: bool,
    unroll: int,
    columns: bool,
    weights: Any,
    shared: Tree,
    state: Tree,
    xs: Tree,
) -> tuple[tuple[Tree, Tree], Tree]:
    """The scan, which also keeps each step's state, and both sides of its products."""
    known_product = _in_loop(weights, columns)

    def body(state: Tree, x: Tree) -> tuple[Tree, Tree]:
        inputs, outputs = {}, {}

        def product(name: str, v_BI: Array) -> Array:
            if name in inputs:
                raise ValueError(f"the cell asked for weight {name!r} twice in a step")
            inputs[name], outputs[name] = v_BI, known_product(name, v_BI)
            return outputs[name]

        after, y = cell(product, shared, state, x)
        return after, (y, state, inputs, outputs)

    last, (ys, *kept) = jax.lax.scan(body, state, xs, reverse=reverse, unroll=unroll)
    return (last, ys), (weights, shared, xs, *kept)


def _backward(
    cell: Cell, reverse: bool, unroll: int, columns: bool, kept: Tree, gradients: Tree
) -> Tree:
    """The scan the other way, then the gradients of the weights."""
    weights, shared, xs, states, inputs, outputs = kept
    parts, join = zip(*map(_floating, (shared, states, xs)), strict=True)
    (shared, states, xs), (join_shared, join_state, join_x) = parts, join
    d_last, d_ys = (_floating(tree)[0].moving for tree in gradients)

    def body(carried: Tree, t: Tree) -> tuple[Tree, Tree]:
        d_state, d_shared = carried
        state, x, known, d_y = t

        def step(probes: Tree, shared_now: Tree, state_now: Tree, x_now: Tree) -> Tree:
            def product(name: str, v_BI: Array) -> Array:
                if jnp.issubdtype(v_BI.dtype, jnp.integer):
                    return known[name] + probes[name]
                matrix = _parts(weights[name])[0]
                return _known_product(columns, v_BI, matrix, known[name], probes[name])

            after, y = cell(
                product,
                join_shared(shared_now, shared.still),
                join_state(state_now, state.still),
                join_x(x_now, x.still),
            )
            return _floating(after)[0].moving, _floating(y)[0].moving

        probes = jax.tree.map(jnp.zeros_like, known)
        _, pull = jax.vjp(step, probes, shared.moving, state.moving, x.moving)
        d_products, d_shared_now, d_state, d_x = pull((d_state, d_y))
        d_shared = jax.tree.map(jnp.add, d_shared, d_shared_now)
        return (d_state, d_shared), (d_products, d_x)

    nothing = jax.tree.map(jnp.zeros_like, shared.moving)
    steps = (states, xs, outputs, d_ys)
    (d_state, d_shared), (d_products, d_xs) = jax.lax.scan(
        body, (d_last, nothing), steps, reverse=not reverse, unroll=unroll
    )
    rows_of = _turned if columns else lambda x: x
    d_weights = {
        name: _gradient(weight, *map(rows_of, (inputs[name], d_products[name])))
        if name in inputs
        else jax.tree.map(jnp.zeros_like, weight)
        for name, weight in weights.items()
    }
    return d_weights, join_shared(d_shared), join_state(d_state), join_x(d_xs)


_scan.defvjp(_forward, _backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _known_product(
    columns: bool, v_BI: Array, weight_IO: Array, known_BO: Array, probe_BO: Array
) -> Array:
    """The product of v and the weight, known already; the probe gets the product's gradient."""
    return known_BO


def _known_forward(
    columns: bool, v_BI: Array, weight_IO: Array, known_BO: Array, probe_BO: Array
) -> tuple[Array, Tree]:
    return known_BO, weight_IO


def _known_backward(
    columns: bool, weight_IO: Array, d_BO: Array
) -> tuple[Array, Array, Array, Array]:
    # Nobody asks for the gradients of the weight and of what is known: they cost nothing.
    d_v = weight_IO @ d_BO if columns else d_BO @ weight_IO.mT
    return d_v, jnp.zeros_like(weight_IO), jnp.zeros_like(d_BO), d_BO


_known_product.defvjp(_known_forward, _known_backward)


def _gradient(weight: Weight, v_TBI: Array, d_TBO: Array) -> Weight:
    """The gradient of a weight, from all its products."""
    matrix_IO, bias_O = _parts(weight)
    if jnp.issubdtype(v_TBI.dtype, jnp.integer):
        d_IO = jnp.zeros_like(matrix_IO).at[v_TBI].add(d_TBO)
    else:
        of_one = jax.vmap(_matrix_gradient, (0, 1, 1)) if matrix_IO.ndim == 3 else _matrix_gradient
        d_IO = of_one(matrix_IO, v_TBI, d_TBO)
    return d_IO if bias_O is None else (d_IO, d_TBO.sum((0, -2)))


def _matrix_gradient(matrix_IO: Array, v_TBI: Array, d_TBO: Array) -> Array:
    return jax.vjp(partial(affine, v_TBI), matrix_IO)[1](d_TBO)[0]


def _parts(weight: Weight) -> tuple[Array, Array | None]:
    return weight if isinstance(weight, tuple) else (weight, None)


@struct.dataclass
class _Leaves:
    """The leaves of a tree: those with gradients, and the others."""

    moving: list[Array]
    still: list[Array]


def _floating(tree: Tree) -> tuple[_Leaves, Callable[..., Tree]]:
    """A tree's leaves in two parts, and what joins such parts again (without the second: None)."""
    leaves, structure = jax.tree.flatten(tree)
    is_moving = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves]

    def join(moving: list[Array], still: list[Any] | None = None) -> Tree:
        first, second = iter(moving), iter(still or [None] * len(leaves))
        joined = [next(first if moves else second) for moves in is_moving]
        return jax.tree.unflatten(structure, joined)

    moving = [leaf for leaf, moves in zip(leaves, is_moving, strict=True) if moves]
    still = [leaf for leaf, moves in zip(leaves, is_moving, strict=True) if not moves]
    return _Leaves(moving, still), join
