"""A step's memory and time before it is compiled: rough, to choose what is worth compiling.

Shapes tell most of it: the state from its shardings, and what the backward pass keeps from tracing
the loss, which allocates nothing. How the compiler orders the rest they do not tell; so estimates
are scaled by what a compiled program of the same model needed.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxformers_edu.flops import training_flops
from train.plan.costs import Collective
from train.plan.network import route, seconds
from train.plan.program import Step, device_bytes
from train.plan.topology import Topology


@dataclass(frozen=True)
class Kept:
    """What the forward pass keeps for the backward pass, bytes of the whole batch."""

    stream: float
    """Arrays that end in the hidden size: whole on each device of `tensor`."""
    split: float
    """Heads, intermediate size, vocabulary: split over `tensor`."""


@dataclass(frozen=True)
class Estimate:
    """Of one device."""

    state: float
    """Bytes of state and batch; exact."""
    temporaries: float
    """Bytes of gradients and activations."""
    compute: float
    """Seconds."""
    network: float
    """Seconds."""

    @property
    def memory(self) -> float:
        """Bytes."""
        return self.state + self.temporaries

    @property
    def seconds(self) -> float:
        """Of a step; the half that does not overlap decides between equals."""
        return max(self.compute, self.network) + 0.1 * min(self.compute, self.network)


def kept_for_backward(step: Step) -> Kept:
    """Traces the loss and adds up the residuals of its linearisation, parameters left out."""
    model, params = step.training.model, step.state.params
    objective = step.experiment.objective
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (params, step.batch))

    def linearised(params: Any, batch: Any) -> Any:
        def loss(params: Any) -> Any:
            key = jax.random.key(0)
            return objective.loss(model, params, batch, key).sum

        return jax.vjp(loss, params)[1]

    with jax.set_mesh(step.mesh):  # which attention is chosen depends on the platform
        residuals = jax.tree.leaves(jax.eval_shape(linearised, *shapes))
    of_params = {leaf.shape for leaf in jax.tree.leaves(params)}
    width = getattr(step.experiment.model, "hidden_size", None)
    sizes = {True: 0.0, False: 0.0}
    for leaf in residuals:
        if leaf.shape not in of_params and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            sizes[leaf.shape[-1:] == (width,)] += math.prod(leaf.shape) * leaf.dtype.itemsize
    return Kept(stream=sizes[True], split=sizes[False])


def estimate(step: Step, kept: Kept, everything: Kept, topology: Topology) -> Estimate:
    """The estimate of a step.

    Args:
        step: what would be compiled.
        kept: what its remat policy keeps.
        everything: what no remat keeps, of which one layer's is there while it is differentiated.
        topology: where it would run.
    """
    mesh, model = step.mesh, step.experiment.model
    tensor, parts = mesh.shape["tensor"], step.experiment.accumulation
    across = mesh.size // tensor
    layers = getattr(model, "num_layers", 1)

    def on_device(sizes: Kept) -> float:
        return (sizes.stream + sizes.split / tensor) / across / parts

    params = device_bytes(step.state.params)
    whole = 4 * math.fsum(math.prod(p.shape) for p in jax.tree.leaves(step.state.params))
    # Gradients (twice where parts are added up), kept arrays, one layer's, its gathered weights.
    temporaries = params * (1 if parts == 1 else 2) + on_device(kept)
    temporaries += on_device(everything) / layers + whole / 2 / layers / tensor
    return Estimate(
        state=device_bytes((step.state, step.batch)),
        temporaries=temporaries,
        compute=_compute_seconds(step, topology),
        network=_network_seconds(step, topology, whole / 2, layers),
    )


RECOMPUTED = {"full": 4 / 3, "dots_no_batch": 1.1, "dots": 1.02}
"""FLOPs of training by remat policy, of those without: full repeats the forward pass."""


def _compute_seconds(step: Step, topology: Topology) -> float:
    model = step.experiment.model
    if not hasattr(model, "forward_flops"):
        return 0.0
    shapes = {name: array.shape for name, array in step.batch.items()}
    flops = training_flops(model.forward_flops(shapes)) * RECOMPUTED.get(step.remat, 1.0)
    return flops / step.mesh.size / topology.device.peak_flops


def _network_seconds(step: Step, topology: Topology, weights: float, layers: int) -> float:
    """Weights gathered twice and gradients scattered once a part; sums over `tensor` by layer."""
    mesh, parts = step.mesh, step.experiment.accumulation
    sizes = mesh.shape

    def along(axis: str, kind: str, payload: float) -> float:
        if sizes[axis] == 1:
            return 0.0
        positions = np.arange(mesh.size).reshape(mesh.devices.shape)
        line = tuple(slice(None) if name == axis else 0 for name in mesh.axis_names)
        group = tuple(int(i) for i in positions[line])
        collective = Collective(kind, int(payload), (group,), "")
        return seconds(collective, route((group,), mesh), topology)

    gathered = weights / sizes["tensor"]
    fsdp = 2 * parts * along("fsdp", "all-gather", gathered)
    fsdp += parts * along("fsdp", "reduce-scatter", gathered)
    data = parts * along("data", "all-reduce", gathered / sizes["fsdp"])
    width = getattr(step.experiment.model, "hidden_size", 0)
    stream = 2 * step.rows * step.length * width / (mesh.size // sizes["tensor"])
    # Two sums a layer forward, two backward, and the two forward again where they are recomputed.
    sums = 6 if step.remat == "full" else 4
    return fsdp + data + sums * layers * along("tensor", "all-reduce", stream)
