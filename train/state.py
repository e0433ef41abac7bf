"""The training state: what a checkpoint holds and a step maps to the next."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from flaxformers_edu.optim.noise_scale import NOISE
from flaxformers_edu.optim.running import RunningMean
from flaxformers_edu.sharding import batch_sharding, parameter_shardings
from train.bad_steps import Guard


@struct.dataclass
class TrainState:
    """All of it: with the seed and the data, the rest of a run follows from these."""

    step: Int[Array, ""]
    params: Any
    opt_state: Any
    ema: Any
    """Moving average of the parameters; None where the experiment has none."""
    guard: Guard | None = None
    """What the policy for bad steps keeps; None where it judges nothing."""
    noise: RunningMean | None = None
    """Running means of the gradient's noise and signal; None where they are not measured."""
    averaged: Int[Array, ""] | None = None
    """Where averaging is triggered: updates whose mean `ema` is; -1 before, when it is the last."""
    carried: Any = None
    """What an objective remembers from batch to batch: arrays whose first axis is its rows."""

    @property
    def updates(self) -> Int[Array, ""]:
        """Updates made: the steps but for those that were skipped."""
        return self.step if self.guard is None else self.step - self.guard.skipped

    @property
    def eval_params(self) -> Any:
        """The parameters to evaluate and to keep."""
        return self.params if self.ema is None else self.ema


def abstract_params(model: nn.Module) -> Any:
    """Shapes of the parameters, still boxed with their logical axis names."""
    inputs = model.dummy_inputs()
    return jax.eval_shape(lambda: model.init(jax.random.key(0), **inputs))["params"]


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    seed: int,
    **parts: Any,
) -> TrainState:
    """The state of step 0: every array is made where it belongs on the mesh.

    parts: which of its optional parts it has, as `Experiment.state_parts` says: ema, triggered,
    guard, noise; and `start`, the function from the model to what is carried.
    """
    initialise = make_initialise(model, optimizer, mesh, **parts)
    with jax.set_mesh(mesh):
        return initialise(jax.random.key(seed))


def make_initialise(
    model: nn.Module, optimizer: optax.GradientTransformation, mesh: Mesh, **parts: Any
) -> Callable[[Array], TrainState]:
    """The function from a key to the state of step 0, jitted; `parts` as for `create_state`."""
    _, shardings = _plan(model, optimizer, mesh, parts)
    return jax.jit(lambda key: _initial(model, optimizer, key, **parts), out_shardings=shardings)


def abstract_state(
    model: nn.Module, optimizer: optax.GradientTransformation, mesh: Mesh, **parts: Any
) -> TrainState:
    """Shapes, types and shardings of the state, for restoring a checkpoint into.

    parts: as for `create_state`.
    """
    abstract, shardings = _plan(model, optimizer, mesh, parts)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract,
        shardings,
    )


def shardings_of(state: TrainState) -> TrainState:
    """Where each array of a state (or of its shapes) lies: a tree of shardings."""
    return jax.tree.map(lambda leaf: leaf.sharding, state)


def count(params: Any) -> int:
    """Number of parameters of a tree of arrays or shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def _initial(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    key: Array,
    *,
    ema: bool = False,
    triggered: bool = False,
    guard: bool = False,
    noise: bool = False,
    start: Callable[[nn.Module], Any] | None = None,
) -> TrainState:
    params = nn.meta.unbox(model.init(key, **model.dummy_inputs())["params"])
    # A copy: the same buffer cannot be donated twice.
    average = jax.tree.map(jnp.copy, params) if ema else None
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema=average,
        guard=Guard.initial() if guard else None,
        noise=RunningMean.of(*NOISE) if noise else None,
        averaged=jnp.full((), -1, jnp.int32) if triggered else None,
        carried=None if start is None else start(model),
    )


def _plan(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    parts: Mapping[str, Any],
) -> tuple[TrainState, Any]:
    """Shapes first, shardings second; allocation is the caller's third."""
    boxed = abstract_params(model)
    of_params = parameter_shardings(boxed, mesh)
    abstract = jax.eval_shape(lambda: _initial(model, optimizer, jax.random.key(0), **parts))
    replicated = NamedSharding(mesh, PartitionSpec())

    # Moments have the shapes of their parameters and lie where they lie; the rest is small. Of a
    # frozen parameter there is no moment, only optax's note that there is none.
    def of_moment(leaf: Any, sharding: Any, parameter: Any) -> Any:
        if isinstance(leaf, optax.MaskedNode):
            return leaf
        return sharding if leaf.shape == parameter.shape else replicated

    of_optimizer = optax.tree_utils.tree_map_params(
        optimizer,
        of_moment,
        abstract.opt_state,
        of_params,
        abstract.params,
        transform_non_params=lambda _: replicated,
        is_leaf=lambda node: isinstance(node, optax.MaskedNode),
    )
    everywhere = jax.tree.map(lambda _: replicated, abstract)
    shardings = everywhere.replace(
        params=of_params,
        opt_state=of_optimizer,
        ema=None if abstract.ema is None else of_params,
        carried=jax.tree.map(lambda _: batch_sharding(mesh), abstract.carried),
    )
    return abstract, shardings
