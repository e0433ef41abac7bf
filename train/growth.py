"""A table of tokens that has more rows than the one it begins from."""

import jax

Rows = tuple[int, int]
"""Tokens of the old vocabulary, and of the new one."""


def grown(shape: tuple[int, ...], rows: Rows | None) -> tuple[int, ...]:
    """A parameter's shape with the new vocabulary in place of the old one; None: the same."""
    if rows is None or rows[0] > rows[1] or shape.count(rows[0]) != 1:
        return shape
    return tuple(rows[1] if size == rows[0] else size for size in shape)


def told_of_growth(rows: Rows | None) -> str:
    """How many rows are old and how many new, where some are."""
    if rows is None or rows[0] == rows[1]:
        return ""
    return f" (of {rows[1]:,} tokens, {rows[1] - rows[0]} are new)"


def laid_over(leaf: jax.Array, found: jax.Array | None) -> jax.Array:
    """What was found, in place of a random array.

    Where it is smaller, the rest of the random array remains, and the result lies where that lay.
    """
    if found is None or found.shape == leaf.shape:
        return leaf if found is None else found
    corner = tuple(slice(size) for size in found.shape)
    put = jax.jit(lambda leaf, found: leaf.at[corner].set(found), out_shardings=leaf.sharding)
    return put(leaf, found)
