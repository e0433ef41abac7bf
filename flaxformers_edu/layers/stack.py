"""A stack of equal blocks: one block, many parameters, and a loop over them.

The block is applied as a pure function of its parameters. Whether the loop is a `lax.scan` over
stacked parameters (compile time does not grow with depth) or unrolled (XLA sees every layer), which
parts the layers share, and what the backward pass recomputes: all this is chosen here alone.

Dims: L layers, B batch, T length, D hidden size.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
from flax.core import meta, unfreeze
from jaxtyping import Array, Float

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.layers.groups import (
    evenly_in_turn,
    group_of_layers,
    in_groups,
    layers_of_group,
    out_of_groups,
)
from flaxformers_edu.layers.intermediates import COLLECTION, sow, wanted

Share = Literal["none", "attention", "ffn", "all"]
Remat = Literal["none", "full", "dots", "dots_no_batch", "offload"]
Layout = Literal["scanned", "unrolled"]

Tree = dict[str, Any]


class Stack(nn.Module):
    """Applies `num_layers` blocks one after the other.

    Args:
        make_block: makes the block, a module `(x, *args, cache, deterministic) -> (x, cache)`.
        num_layers: how many.
        layout: "scanned" keeps the layers' parameters stacked under `layers` with a leading axis;
            "unrolled" keeps a subtree a layer, `layers/0`, `layers/1`, ... `stack_layers` and
            `unstack_layers` convert. Both begin from the same random numbers and compute the same.
        share: parts of which all layers use one copy, kept under `shared` (Lan et al. 2019).
        remat: what the backward pass recomputes instead of storing: "none" stores everything,
            "full" only each block's input, "dots" every matrix product, "dots_no_batch" those
            without batch dimensions (projections, but not attention scores), "offload" moves these
            to the host's memory.
        copies: which of the parameters under `layers` each layer uses, where there are fewer than
            layers: (0, 0, 1, 1) has two groups of two (Lan et al. 2019, section 3.1).
    """

    make_block: Callable[..., nn.Module]
    num_layers: int
    layout: Layout = "scanned"
    share: Share = "none"
    remat: Remat = "none"
    copies: tuple[int, ...] | None = None

    @nn.compact
    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        *args: Any,
        cache: Any = None,
        deterministic: bool = True,
        in_turn: Sequence[Mapping[str, Any]] = ({},),
        **kwargs: Any,
    ) -> tuple[Float[Array, "B T D"], Any]:
        """Returns (y, cache); the cache has an entry a layer, stacked where this is scanned.

        Where layers differ in kind, `in_turn` has what they are given besides: the first layer the
        first of it, and so on in turn. A scan then goes over so many layers at once.
        """
        check_name("layer layout", self.layout, Layout)
        check_name("share", self.share, Share)
        check_name("remat policy", self.remat, Remat)
        block = self._block()
        layers, shared = self._parameters(block, x_BTD, *args, **kwargs, **in_turn[0])
        dropping = not deterministic and self.has_rng("dropout")
        dropout_key = self.make_rng("dropout") if dropping else None
        looking = wanted(self)

        def run_layer(
            kind: Mapping[str, Any], x: Array, layer: Tree, index: Any, layer_cache: Any
        ) -> tuple:
            rngs = (
                {"dropout": jax.random.fold_in(dropout_key, index)}
                if dropout_key is not None
                else {}
            )
            (x, layer_cache), sown = block.apply(
                {"params": {**shared, **layer}},
                x,
                *args,
                cache=layer_cache,
                deterministic=deterministic,
                rngs=rngs,
                mutable=[COLLECTION] if looking else [],
                **kwargs,
                **kind,
            )
            return x, layer_cache, sown.get(COLLECTION, {})

        # Inside a scan the loop itself keeps XLA from merging the recomputation with the original.
        apart = self.layout == "unrolled"
        kinds = in_turn if apart else evenly_in_turn(in_turn, self.num_layers)
        run = [rematerialise(partial(run_layer, k), self.remat, prevent_cse=apart) for k in kinds]
        if self.is_initializing():
            return x_BTD, cache  # who initialises wants parameters, and a result of this shape

        if not apart:

            def body(x: Array, per_layer: tuple) -> tuple[Array, tuple]:
                results = []
                for run_kind, one in zip(run, layers_of_group(per_layer, len(run)), strict=True):
                    x, layer_cache, sown = run_kind(x, *one)
                    results.append((layer_cache, sown))
                return x, group_of_layers(results)

            if self.copies is not None:
                layers = jax.tree.map(lambda p: p[jax.numpy.array(self.copies)], layers)
            indices = jax.numpy.arange(self.num_layers)
            groups = in_groups((layers, indices, cache), len(run))
            x_BTD, results = jax.lax.scan(body, x_BTD, groups)
            cache, sown = out_of_groups(results, len(run))
        else:
            caches, seen = [], []
            for i in range(self.num_layers):
                layer_cache = None if cache is None else cache[i]
                layer = layers.get(str(i if self.copies is None else self.copies[i]), {})
                x_BTD, layer_cache, sown = run[i % len(run)](x_BTD, layer, i, layer_cache)
                caches.append(layer_cache)
                seen.append(sown)
            cache = None if cache is None else tuple(caches)
            sown = jax.tree.map(lambda *values: jax.numpy.stack(values), *seen)
        for name, value in sown.items():
            sow(self, name, value)
        return x_BTD, cache

    def each_layer(self, method: str, *args: Any) -> Any:
        """The result of a block's method for every layer: a tuple, or stacked where scanned.

        How a decoder computes its source's keys and values once.
        """
        block = self._block()
        layers, shared = self._given_parameters()

        def call(layer: Tree) -> Any:
            return block.apply({"params": {**shared, **layer}}, *args, method=method)

        if self.layout == "unrolled":
            return tuple(call(layers.get(str(i), {})) for i in range(self.num_layers))
        if not layers:
            return jax.lax.map(lambda _: call({}), jax.numpy.arange(self.num_layers))
        return jax.lax.map(call, layers)

    def _block(self) -> nn.Module:
        # Unattached: this module owns the parameters and applies the block as a function of them.
        return self.make_block(parent=None)

    def _given_parameters(self) -> tuple[Tree, Tree]:
        # Straight from `init` they still carry their axes' names.
        params = meta.unbox(self.variables["params"])
        return params.get("layers", {}), params.get("shared", {})

    def _parameters(self, block: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tree, Tree]:
        if not self.is_initializing():
            return self._given_parameters()

        @jax.jit  # traced once, however many layers there are
        def init_block(key: Array) -> Tree:
            return block.init({"params": key}, *args, **kwargs)["params"]

        def own(tree: Tree) -> Tree:
            return {name: sub for name, sub in tree.items() if not is_shared(name, self.share)}

        def init_layers(key: Array) -> Tree:
            number = self.num_layers if self.copies is None else max(self.copies) + 1
            keys = jax.random.split(key, number)
            if self.layout == "unrolled":
                return {str(i): own(init_block(keys[i])) for i in range(number)}
            stacked = jax.vmap(lambda k: own(init_block(k)))(keys)
            return meta.add_axis(stacked, 0, {nn.PARTITION_NAME: "layers"})

        def init_shared(key: Array) -> Tree:
            tree = init_block(key)
            return {name: sub for name, sub in tree.items() if is_shared(name, self.share)}

        layers = {} if self.share == "all" else self.param("layers", init_layers)
        shared = {} if self.share == "none" else self.param("shared", init_shared)
        return layers, shared


def is_shared(name: str, share: Share) -> bool:
    """Whether a block's child of that name is one of those that all layers share."""
    ffn = name.startswith("mlp")
    return {"none": False, "all": True, "ffn": ffn, "attention": not ffn}[share]


def rematerialise(f: Callable, policy: Remat, *, prevent_cse: bool = True) -> Callable:
    """`jax.checkpoint` by the names above."""
    check_name("remat policy", policy, Remat)
    if policy == "none":
        return f
    policies = jax.checkpoint_policies
    if policy == "offload":
        kinds = {memory.kind for memory in jax.local_devices()[0].addressable_memories()}
        if "pinned_host" not in kinds:
            raise InputError(
                "remat policy 'offload' needs pinned host memory, which the "
                f"{jax.default_backend()} backend lacks (it has {', '.join(sorted(kinds))}); "
                "use 'dots_no_batch' or 'full'"
            )
        saveable = policies.offload_dot_with_no_batch_dims("device", "pinned_host")
    else:
        saveable = {
            "full": policies.nothing_saveable,
            "dots": policies.dots_saveable,
            "dots_no_batch": policies.dots_with_no_batch_dims_saveable,
        }[policy]
    return jax.checkpoint(f, policy=saveable, prevent_cse=prevent_cse)


def unstack_layers(params: Tree) -> Tree:
    """Parameters of scanned stacks as those of unrolled ones, anywhere in the tree."""

    def split(stacked: Tree) -> Tree:
        leaves = jax.tree.leaves(stacked)
        return {str(i): jax.tree.map(lambda p, i=i: p[i], stacked) for i in range(len(leaves[0]))}

    return _convert(params, split, is_layout=lambda layers: not is_unrolled(layers))


def stack_layers(params: Tree) -> Tree:
    """Parameters of unrolled stacks as those of scanned ones, anywhere in the tree."""

    def join(layers: Tree) -> Tree:
        ordered = [layers[str(i)] for i in range(len(layers))]
        return jax.tree.map(lambda *ps: jax.numpy.stack(ps), *ordered)

    return _convert(params, join, is_layout=is_unrolled)


UNROLLED_DECODING = 12
"""Up to this many layers, the compilation of a decoding step with its layers apart stays short."""


def layers_apart(model: Any, params: Tree) -> tuple[Any, Tree]:
    """The same model with its layers apart, unless there are many: the form to decode with.

    A loop over stacked layers would copy the cache of all of them, in and out, at every step.
    """
    config = model.config
    if config.layout == "unrolled" or config.num_layers > UNROLLED_DECODING:
        return model, params
    unrolled = dataclasses.replace(config, layout="unrolled")
    return model.clone(config=unrolled), unstack_layers(meta.unbox(unfreeze(params)))


def _convert(tree: Any, convert: Callable[[Tree], Tree], is_layout: Callable) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {
        name: convert(sub)
        if name == "layers" and is_layout(sub)
        else _convert(sub, convert, is_layout)
        for name, sub in tree.items()
    }


def is_unrolled(layers: Tree) -> bool:
    """Whether these are a subtree a layer, and not stacked."""
    return all(name.isdigit() for name in layers)


def check_name(what: str, value: str, kind: Any) -> None:
    """Raises InputError unless `value` is one of the Literal's names."""
    if value not in get_args(kind):
        raise unknown_name(what, value, get_args(kind))
