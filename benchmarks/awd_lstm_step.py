"""A training step of AWD-LSTM at its published size, against the same in torch.

400 features, layers of 1,150, 1,150 and 400 units, a vocabulary of 10,000 (the Penn Treebank's),
16 streams, windows of 70 tokens, float32: forward with all dropouts, the two penalties on
activations, backward, gradients clipped, SGD, and the states carried to the next step. torch's
LSTM gets its recurrent matrix dropped out before each step, as the authors' code does. A sample is
a few steps. "Eigen" is XLA with its older products, see `steps.EIGEN`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.steps import large_pages, with_eigen

CASES = {
    "published, 16 x 70": {
        "sizes": {"vocab_size": 10_000, "embedding_size": 400, "hidden_size": 1150},
        "rows": 16,
        "length": 70,
        "steps": 2,
    }
}
DROPOUT = {"embedding": 0.1, "input": 0.4, "hidden": 0.3, "output": 0.4, "weight": 0.5}
RATE, CLIP, AR, TAR = 30.0, 0.25, 2.0, 1.0


def tokens(rows: int, length: int, vocab_size: int) -> np.ndarray:
    """A window and the token after it."""
    return np.random.default_rng(0).integers(2, vocab_size, (rows, length + 1))


def ours(
    unroll: int, *, sizes: dict[str, Any], rows: int, length: int, steps: int
) -> Callable[[], Any]:
    """`train.step.make_train_step`, with steps of the loop written out or not."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    from flaxformers_edu.models.awd_lstm import AWDLSTMConfig
    from flaxformers_edu.objectives.bptt_lm import BPTTLanguageModel
    from flaxformers_edu.optim.optimizers import Optimizer
    from flaxformers_edu.sharding import MeshShape
    from train.placement import place
    from train.state import abstract_params, create_state
    from train.step import make_train_step

    rates: Any = {f"{name}_dropout": rate for name, rate in DROPOUT.items()}
    model = AWDLSTMConfig(**sizes, **rates, unroll=unroll).build()
    objective = BPTTLanguageModel(bptt=length, deviation=0, ar=AR, tar=TAR)
    optimizer = Optimizer(name="sgd", momentum=0.0, clip_norm=CLIP).build(
        RATE, nn.meta.unbox(abstract_params(model))
    )
    mesh = MeshShape().build()
    step = make_train_step(model, objective, optimizer, lambda _: jnp.full((), RATE), seed=0)
    start = partial(objective.start, rows=rows)
    state = create_state(model, optimizer, mesh, seed=0, start=start)
    ids: np.ndarray = tokens(rows, length, sizes["vocab_size"]).astype(np.int32)
    batch = {
        "input_ids": ids[:, :-1],
        "attention_mask": np.ones((rows, length), np.int32),
        "labels": ids[:, 1:],
        "begins": np.zeros(rows, np.int32),
    }

    def run() -> float:
        nonlocal state
        with jax.set_mesh(mesh):
            for _ in range(steps):
                state, metrics = step(state, place(batch, mesh))
        jax.block_until_ready(state)
        return float(metrics["loss"])

    return run


def torch_lstm(*, sizes: dict[str, Any], rows: int, length: int, steps: int) -> Callable[[], Any]:
    """Three `torch.nn.LSTM` in a row, and the usual loop."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    V, E, H = (sizes[name] for name in ("vocab_size", "embedding_size", "hidden_size"))
    table = nn.Parameter(torch.empty(V, E).uniform_(-0.1, 0.1))
    bias = nn.Parameter(torch.zeros(V))
    layers = [nn.LSTM(E, H), nn.LSTM(H, H), nn.LSTM(H, E)]
    matrices = [nn.Parameter(layer.weight_hh_l0.detach().clone()) for layer in layers]
    for layer in layers:
        del layer._parameters["weight_hh_l0"]  # so that a tensor can take its place
    parameters = [table, bias, *matrices, *(p for layer in layers for p in layer.parameters())]
    ids = torch.tensor(tokens(rows, length, V).T)
    states: list[Any] = [None] * len(layers)

    def locked(x: Any, rate: float) -> Any:
        kept = torch.empty(1, *x.shape[1:]).bernoulli_(1 - rate).div_(1 - rate)
        return x * kept

    def loss_of_step() -> Any:
        kept = torch.empty(V, 1).bernoulli_(1 - DROPOUT["embedding"]).div_(1 - DROPOUT["embedding"])
        x = locked(functional.embedding(ids[:-1], table * kept), DROPOUT["input"])
        for number, (layer, matrix) in enumerate(zip(layers, matrices, strict=True)):
            layer.weight_hh_l0 = functional.dropout(matrix, DROPOUT["weight"])
            x, (hidden, cell) = layer(x, states[number])
            states[number] = (hidden.detach(), cell.detach())
            last = x
            x = locked(x, DROPOUT["hidden" if number < 2 else "output"])
        logits = functional.linear(x, table, bias)
        loss = functional.cross_entropy(logits.reshape(-1, V), ids[1:].reshape(-1))
        return loss + AR * x.square().mean() + TAR * (last[1:] - last[:-1]).square().mean()

    def run() -> float:
        for _ in range(steps):
            for parameter in parameters:
                parameter.grad = None
            loss = loss_of_step()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            with torch.no_grad():
                for parameter in parameters:
                    parameter.add_(parameter.grad, alpha=-RATE)
        return float(loss.detach())

    return run


PEERS = {
    "loop": large_pages(partial(ours, 1)),
    "loop of 2": large_pages(partial(ours, 2)),
    "loop of 2, Eigen": with_eigen(large_pages(partial(ours, 2))),
    "torch": torch_lstm,
    "torch, large pages": large_pages(torch_lstm),
}


def main() -> None:
    """Measures and writes results/awd_lstm_step-DEVICE.json."""
    options = harness.parser(__doc__, rounds=8).parse_args()
    harness.compare(
        "awd_lstm_step",
        CASES,
        list(PEERS),
        baseline="torch",
        unit="tokens",
        units_a_sample=lambda s: s["rows"] * s["length"] * s["steps"],
        options=options,
    )


if __name__ == "__main__":
    main()
