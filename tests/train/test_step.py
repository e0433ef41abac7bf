import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxformers_edu.models import TransformerConfig
from flaxformers_edu.objectives import Translation
from flaxformers_edu.optim import noise_scale
from flaxformers_edu.sharding import MeshShape
from tests.train import quadratic
from train.bad_steps import BadSteps
from train.pipeline import Batching, EncodedExamples, TrainData
from train.placement import place
from train.state import abstract_state, count, create_state, shardings_of
from train.step import key_of, make_eval_step, make_train_step

CONFIG = TransformerConfig(
    vocab_size=24,
    hidden_size=8,
    num_layers=1,
    num_heads=2,
    intermediate_size=16,
    dropout=0.0,
    layout="unrolled",
)
OBJECTIVE = Translation()
RATE = 0.5
SGD = optax.sgd(RATE)


def mesh_of(devices: int):
    return MeshShape().build(jax.devices()[:devices])


def column(rng, lengths):
    ids = rng.integers(2, 24, lengths.sum()).astype(np.int32)
    return ids, np.concatenate([[0], np.cumsum(lengths)])


def data_of(rows_multiple_of: int = 8, buckets=(8,), examples: int = 32) -> TrainData:
    """Examples of very unequal lengths."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, max(buckets) + 1, (2, examples))
    columns = {"input_ids": column(rng, lengths[0]), "labels": column(rng, lengths[1])}
    batching = Batching(
        tokens_per_batch=8 * max(buckets),
        max_source_length=max(buckets),
        max_target_length=max(buckets),
        buckets=buckets,
    )
    return TrainData(
        EncodedExamples(columns),
        OBJECTIVE.collate(CONFIG),
        batching,
        seed=0,
        rows_multiple_of=rows_multiple_of,
    )


def trained(devices=1, steps=1, data=None, optimizer=None, config=CONFIG, **settings):
    """The state and the metrics of each step."""
    data, mesh, model = data or data_of(), mesh_of(devices), config.build()
    optimizer = optimizer or SGD
    ema = settings.get("ema_decay", 0.0) > 0
    abstract = abstract_state(model, optimizer, mesh, ema=ema)
    step = make_train_step(
        model,
        OBJECTIVE,
        optimizer,
        lambda step: jnp.float32(RATE) + step,
        seed=0,
        shardings=shardings_of(abstract),
        **settings,
    )
    state = create_state(model, optimizer, mesh, seed=0, ema=ema)
    history = []
    for i in range(steps):
        with jax.set_mesh(mesh):
            state, metrics = step(state, place(data.batch_at(i), mesh))
        history.append({name: float(value) for name, value in metrics.items()})
    return state, history, step


def assert_close(ours, theirs, rtol=0.0, atol=1e-6):
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(other), rtol=rtol, atol=atol)


@pytest.mark.parametrize("accumulation", [2, 8])
def test_accumulation_is_one_whole_batch(accumulation):
    tokens = (data_of().batch_at(0)["labels"] != -100).sum(axis=1)
    assert tokens.max() > 2 * tokens.min()  # parts that a mean of means would get wrong
    whole, [whole_metrics], _ = trained()
    parts, [part_metrics], _ = trained(accumulation=accumulation)
    assert_close(parts.params, whole.params)
    assert part_metrics == pytest.approx(whole_metrics, rel=1e-5)


def test_metrics_are_means_over_tokens():
    data = data_of()
    _, [metrics], _ = trained(data=data)
    batch = data.batch_at(0)
    model = CONFIG.build()
    params = create_state(model, SGD, mesh_of(1), seed=0, ema=False).params
    loss = OBJECTIVE.loss(model, params, place(batch, mesh_of(1)), jax.random.key(0))
    assert metrics["tokens"] == (batch["labels"] != -100).sum()
    assert metrics["loss"] == pytest.approx(float(loss.sum / loss.weight), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(float(loss.counts["accuracy"] / loss.weight))
    assert metrics["learning_rate"] == RATE


def test_gradient_norm_is_that_of_the_mean_loss():
    before = create_state(CONFIG.build(), SGD, mesh_of(1), seed=0, ema=False)
    after, [metrics], _ = trained()
    moved = jax.tree.map(lambda a, b: (a - b) / RATE, before.params, after.params)
    assert metrics["grad_norm"] == pytest.approx(float(optax.tree.norm(moved)), rel=1e-4)
    assert metrics["param_norm"] == pytest.approx(float(optax.tree.norm(after.params)), rel=1e-5)


def test_moving_average_follows_its_formula():
    before = create_state(CONFIG.build(), SGD, mesh_of(1), seed=0, ema=True)
    expected = jax.tree.map(np.asarray, before.params)
    for steps in (1, 2):
        state, _, _ = trained(steps=steps, ema_decay=0.15)
        decay = min(0.15, steps / (9 + steps))  # (1 + t) / (10 + t), t updates before this one
        expected = jax.tree.map(
            lambda old, new, d=decay: d * old + (1 - d) * np.asarray(new), expected, state.params
        )
        assert_close(state.ema, expected)
        assert state.eval_params is state.ema


def test_without_decay_there_is_no_average():
    state, _, _ = trained()
    assert state.ema is None and state.eval_params is state.params


@pytest.mark.parametrize("accumulation", [1, 2])
def test_frozen_parameters_are_constants_of_the_backward_pass(accumulation):
    """With plain SGD only a gradient of zero can hold them; the others' is as before."""
    start = create_state(CONFIG.build(), SGD, mesh_of(1), seed=0, ema=False).params
    whole, [whole_metrics], _ = trained(accumulation=accumulation)
    part, [part_metrics], _ = trained(accumulation=accumulation, frozen=("^encoder/",))
    assert_close(part.params.pop("encoder"), start.pop("encoder"), atol=0)
    whole.params.pop("encoder")
    assert_close(part.params, whole.params)
    assert 0 < part_metrics["grad_norm"] < whole_metrics["grad_norm"]
    assert part_metrics["loss"] == pytest.approx(whole_metrics["loss"], rel=1e-6)


def test_the_old_state_is_donated():
    model, mesh, optimizer = CONFIG.build(), mesh_of(1), optax.sgd(RATE)
    step = make_train_step(model, OBJECTIVE, optimizer, lambda _: jnp.float32(0.0), seed=0)
    state = create_state(model, optimizer, mesh, seed=0, ema=False)
    with jax.set_mesh(mesh):
        new, _ = step(state, place(data_of().batch_at(0), mesh))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    assert int(new.step) == 1


class Noisy(quadratic.Quadratic):
    """A loss that is a draw of the key."""

    def loss(self, model, params, batch, key):
        loss = super().loss(model, params, batch, key)
        return dataclasses.replace(loss, sum=loss.sum + jax.random.normal(key))


def test_a_program_that_is_told_its_key_serves_all_seeds():
    sgd, batch = optax.sgd(0.1), quadratic.batch()
    first, other = (
        make_train_step(None, Noisy(), sgd, lambda _: jnp.float32(0.1), seed=seed)
        for seed in (1, 2**40 + 3)
    )
    state, key = quadratic.state(sgd), key_of(2**40 + 3)
    assert first.lower(state, batch, key).as_text() == other.lower(state, batch, key).as_text()
    assert first.lower(state, batch).as_text() != other.lower(state, batch).as_text()

    def loss(step, *told):
        return float(step(quadratic.state(sgd), batch, *told)[1]["loss"])

    assert loss(first, key) == loss(other) != loss(first)


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_all_of_the_state_is_written_in_its_own_place(policy):
    optimizer = optax.adam(1e-2)
    step = quadratic.step(optimizer, BadSteps(policy))
    state = quadratic.state(optimizer, guard=policy == "skip")
    stats = step.lower(state, quadratic.batch()).compile().memory_analysis()
    assert stats.alias_size_in_bytes >= sum(leaf.nbytes for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("missing", [0, 10])
def test_the_noise_scale_of_a_known_gradient(missing):
    """Rows are w - x with x around MEAN: |G|² = 25 at w = 0, and tr(Σ) = 2² + 4² = 20."""
    still = optax.sgd(0.0)
    step = quadratic.step(still, accumulation=4, measure_noise=True)
    state, rng = quadratic.state(still, noise=True), np.random.default_rng(0)
    for _ in range(noise_scale.WINDOW):
        batch = quadratic.batch(np.array([2.0, 4.0]) * rng.standard_normal((32, 2)), rows=32)
        # Interleaved rows make the parts: these take nearly all of one of them.
        batch["real"][: 4 * missing : 4] = 0
        state, metrics = step(state, batch)
    assert float(state.noise.mean["noise_trace"]) == pytest.approx(20, rel=0.2)
    assert float(state.noise.mean["noise_signal"]) == pytest.approx(25, rel=0.1)
    assert float(metrics["noise_scale"]) == pytest.approx(20 / 25, rel=0.25)


def test_measuring_the_noise_changes_no_update():
    adam, batch = optax.adam(1e-2), quadratic.batch(np.arange(16).reshape(8, 2))
    plain, _ = quadratic.step(adam, accumulation=2)(quadratic.state(adam), batch)
    step = quadratic.step(adam, accumulation=2, measure_noise=True)
    measured, metrics = step(quadratic.state(adam, noise=True), batch)
    assert_close(measured.params, plain.params, atol=0)
    assert np.isfinite(metrics["noise_trace"])


def test_a_step_of_one_part_says_nothing_of_the_noise():
    still, batch = optax.sgd(0.0), quadratic.batch()
    step = quadratic.step(still, accumulation=lambda rows: rows // 8, measure_noise=True)
    state, metrics = step(quadratic.state(still, noise=True), batch)
    assert np.isnan(metrics["noise_trace"]) and int(state.noise.count) == 0
    state, metrics = step(state, quadratic.batch(rows=16))
    assert metrics["noise_trace"] == 0.0 and int(state.noise.count) == 1


def test_eight_devices_give_the_losses_of_one():
    one, history_of_one, _ = trained(devices=1, steps=3)
    eight, history_of_eight, _ = trained(devices=8, steps=3)
    for ours, theirs in zip(history_of_eight, history_of_one, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert_close(eight.params, one.params, atol=1e-5)
    assert len(jax.tree.leaves(eight.params)[0].sharding.device_set) == 8


def test_accumulation_and_data_parallelism_together():
    one, _, _ = trained(devices=1, data=data_of(8))
    both, _, _ = trained(devices=4, data=data_of(8), accumulation=2)
    assert_close(both.params, one.params)


@pytest.mark.parametrize("devices", [1, pytest.param(8, marks=pytest.mark.runs)])
def test_no_shape_is_compiled_twice(devices):
    data = data_of(buckets=(8, 12, 16), examples=128)
    assert len(data.shapes) == 3
    adam = optax.adam(1e-2)
    *_, step = trained(
        devices, 2 * data.steps_per_epoch, data, adam, accumulation=8 // devices, ema_decay=0.9
    )
    assert step._cache_size() == len(data.shapes)


def test_dropout_depends_on_seed_and_step_only():
    # One batch, and a rate of 0 that leaves the parameters alone: only the key can move the loss.
    config = dataclasses.replace(CONFIG, dropout=0.5)
    data, still = data_of(examples=8), optax.sgd(0.0)
    histories = [trained(1, 2, data, still, config)[1] for _ in range(2)]
    assert histories[0] == histories[1]
    first, second = histories[0]
    assert first["loss"] != pytest.approx(second["loss"], rel=1e-3)


def test_evaluation_adds_up_and_knows_no_dropout():
    model = CONFIG.build()
    params = create_state(model, SGD, mesh_of(1), seed=0, ema=False).params
    step = make_eval_step(model, OBJECTIVE)
    batch = data_of().batch_at(0)
    whole = step(params, batch)
    halves = [
        step(params, {k: v[half] for k, v in batch.items()}) for half in (np.s_[:4], np.s_[4:])
    ]
    assert float((halves[0] + halves[1]).sum) == pytest.approx(float(whole.sum), rel=1e-5)
    assert float(whole.sum) == float(step(params, batch).sum)
    assert count(params) > 0


def test_the_parts_of_a_step_have_names():
    """What a profile shows: forward, backward by module, and the optimiser."""
    model, optimizer = CONFIG.build(), optax.sgd(RATE)
    state = abstract_state(model, optimizer, mesh_of(1), ema=False)
    step = make_train_step(model, OBJECTIVE, optimizer, lambda _: jnp.float32(0.0), seed=0)
    text = step.lower(state, data_of().batch_at(0)).as_text(debug_info=True)
    for name in (
        "jvp(loss)/Transformer/decoder/Block/cross_attention",
        "transpose(jvp(loss))/Transformer/decoder/Block/cross_attention",
        "jit(train_step)/optimizer/",
    ):
        assert name in text, name


def test_a_triggered_average_is_the_mean_from_there_on():
    """The last parameters before; then the plain mean of those after each update."""
    step = quadratic.step(optax.sgd(0.1), ema_decay=0.0)
    state = dataclasses.replace(quadratic.state(optax.sgd(0.1)), averaged=jnp.int32(-1))
    seen = []
    for number in range(5):
        if number == 2:
            state = dataclasses.replace(state, averaged=jnp.int32(0))
        state, _ = step(state, quadratic.batch())
        seen.append(np.asarray(state.params["w"]))
        expected = seen[-1] if number < 2 else np.mean(seen[2:], axis=0)
        np.testing.assert_allclose(state.eval_params["w"], expected, rtol=1e-5)
    assert int(state.averaged) == 3


def test_a_factor_on_the_update():
    """An objective may say that a batch moves the parameters more or less than others."""

    class Halved(quadratic.Quadratic):
        def update_factor(self, batch):
            return jnp.float32(0.5)

    whole, _ = quadratic.step(optax.sgd(0.1))(quadratic.state(optax.sgd(0.1)), quadratic.batch())
    model, objective = None, Halved()
    halved = make_train_step(model, objective, optax.sgd(0.1), lambda step: 0.1, seed=0)
    half, metrics = halved(quadratic.state(optax.sgd(0.1)), quadratic.batch())
    np.testing.assert_allclose(half.params["w"], whole.params["w"] / 2, rtol=1e-6)
    assert float(metrics["learning_rate"]) == pytest.approx(0.05)


def test_a_skipped_step_carries_what_was_carried():
    class Counting(quadratic.Quadratic):
        def carried_loss(self, model, params, batch, key, carried):
            return self.loss(model, params, batch, key), carried + 1

    model, objective = None, Counting()
    settings = {"bad_steps": BadSteps("skip"), "seed": 0}
    step = make_train_step(model, objective, optax.sgd(0.1), lambda step: 0.1, **settings)
    start = quadratic.state(optax.sgd(0.1), guard=True)
    state = dataclasses.replace(start, carried=jnp.zeros(8))
    for x, expected in ((0.0, 1), (np.nan, 1), (0.0, 2)):
        state, _ = step(state, quadratic.batch(x))
        assert (np.asarray(state.carried) == expected).all()
