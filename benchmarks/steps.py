"""Training steps to be timed: ours as `python -m train run` compiles it, and the loop of torch."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LEARNING_RATE, WEIGHT_DECAY = 1e-4, 0.01
EIGEN = "--xla_cpu_experimental_ynn_fusion_type="
"""The flag of XLA for products by Eigen."""


def our_step(model: Any, objective: Any, *, abstract: bool = False) -> tuple[Any, Any, Any]:
    """The compiled step with AdamW, its first state (or only the shapes of it), and the mesh."""
    import flax.linen as nn
    import jax.numpy as jnp

    from flaxformers_edu.optim.optimizers import Optimizer
    from flaxformers_edu.sharding import MeshShape
    from train.state import abstract_params, abstract_state, create_state
    from train.step import make_train_step

    def learning_rate(step: Any) -> Any:
        return jnp.full((), LEARNING_RATE)

    mesh = MeshShape().build()
    parameters = nn.meta.unbox(abstract_params(model))
    optimizer = Optimizer(name="adamw", weight_decay=WEIGHT_DECAY).build(learning_rate, parameters)
    step = make_train_step(model, objective, optimizer, learning_rate, seed=0)
    if abstract:
        state = abstract_state(model, optimizer, mesh, ema=False)
    else:
        state = create_state(model, optimizer, mesh, seed=0, ema=False)
    return step, state, mesh


def our_steps(
    model: Any, objective: Any, numbers: Mapping[str, np.ndarray], *, steps: int
) -> Callable[[], Any]:
    """So many steps on one batch, which is placed anew for each of them, as in a run."""
    import jax

    from train.placement import place

    step, state, mesh = our_step(model, objective)

    def run() -> float:
        nonlocal state
        with jax.set_mesh(mesh):
            for _ in range(steps):
                state, metrics = step(state, place(numbers, mesh))
        jax.block_until_ready(state)
        return float(metrics["loss"])

    return run


def torch_steps(
    model: Any,
    numbers: Mapping[str, np.ndarray],
    *,
    steps: int,
    fused: bool,
    loss_of: Callable[[Any, Any], Any] = lambda model, inputs: model(**inputs).loss,
) -> Callable[[], Any]:
    """The usual loop in torch; `fused` uses AdamW's one-pass kernel, not the default on CPU.

    `loss_of(model, inputs)` is the loss; where it is not given, the model's own.
    """
    import torch

    model.train()
    options = {"fused": True} if fused else {}
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, **options
    )
    inputs = {name: torch.tensor(value, dtype=torch.long) for name, value in numbers.items()}

    def run() -> float:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model, inputs)
            loss.backward()
            optimizer.step()
        return loss.item()

    return run


def large_pages(build: Callable[..., Callable[[], Any]]) -> Callable[..., Callable[[], Any]]:
    """The same with the settings of malloc that `python -m train run` begins with."""

    def built(**settings: Any) -> Callable[[], Any]:
        from train.allocator import restart_with_large_pages

        restart_with_large_pages()  # the first thing in its process, and only once
        return build(**settings)

    return built


def with_eigen(build: Callable[..., Callable[[], Any]]) -> Callable[..., Callable[[], Any]]:
    """The same with Eigen's products instead of YNNPACK's, XLA's default on CPUs."""

    def built(**settings: Any) -> Callable[[], Any]:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} {EIGEN}".strip()  # read when jax is first imported
        return build(**settings)

    return built
