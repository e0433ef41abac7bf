"""What a student learns from its teacher, and that the teacher learns nothing.

Dims: B batch, T length.
"""

import copy
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models import BertConfig, DistilBertConfig
from flaxformers_edu.models.distillation import DistillationConfig
from flaxformers_edu.objectives.classification import Classification, Regression
from flaxformers_edu.objectives.distillation import (
    DistilMLM,
    HiddenDistillation,
    PredictionDistillation,
)
from flaxformers_edu.objectives.masked_lm import MaskedLM
from flaxformers_edu.objectives.multiple_choice import MultipleChoice
from flaxformers_edu.objectives.question_answering import QuestionAnswering
from flaxformers_edu.objectives.tagging import Tagging
from flaxformers_edu.objectives.teaching import mapped_layers, run_both
from tests.trees import assert_close, random_params

SIZES = dict(
    vocab_size=19, num_heads=2, intermediate_size=12, max_length=9, eos_token_id=3, mask_token_id=4
)
TEACHER = BertConfig(hidden_size=8, num_layers=4, **SIZES)
THIN = BertConfig(hidden_size=4, num_layers=2, **SIZES)
PAIR = DistillationConfig(THIN, TEACHER)
TWINS = DistillationConfig(TEACHER, TEACHER)

IDS = np.array([[2, 7, 9, 5, 8, 3], [2, 8, 6, 3, 0, 0]], np.int32)
REAL = (IDS != 0).astype(np.int32)
MASKABLE = np.where((IDS > 4), 1, 0).astype(np.int32)
READ = {"input_ids": IDS, "attention_mask": REAL, "token_type_ids": 0 * IDS}
TEXTS = {**READ, "maskable": MASKABLE}
LABELLED = {**READ, "labels": np.array([1, 0], np.int32)}
CHOICES = {name: np.stack([x, x[::-1]], axis=1) for name, x in READ.items()}

HIDDEN = [HiddenDistillation(MaskedLM()), HiddenDistillation(Classification())]
TASKS = {
    "classification": (Classification(), LABELLED),
    "choice": (MultipleChoice(labels=("A", "B")), CHOICES),
    "tags": (
        Tagging(labels=("O", "B")),
        {**READ, "labels": np.where(MASKABLE > 0, 0, -100).astype(np.int32)},
    ),
    "spans": (QuestionAnswering(), READ),
}


def run(objective, module, params, batch, key=None):
    """The loss, compiled."""
    return jax.jit(functools.partial(objective.loss, module))(params, batch, key)


def parameters(config, task, seed=0):
    module = config.build(task)
    return module, random_params(module, seed=seed, **module.dummy_inputs())


def batch_for(objective):
    return TEXTS if objective.task == "masked_lm" else LABELLED


def mean(objective, module):
    """The mean loss as a compiled function of (params, batch, key)."""

    @jax.jit
    def of(params, batch, key=None):
        loss = objective.loss(module, params, batch, key)
        return loss.sum / loss.weight

    return of


@pytest.mark.parametrize(
    "objective",
    [
        DistilMLM(MaskedLM()),
        DistilMLM(MaskedLM(), soft_targets="masked"),
        HiddenDistillation(MaskedLM()),
        PredictionDistillation(Classification()),
    ],
    ids=["tokens", "masked", "hidden", "prediction"],
)
def test_no_gradient_reaches_the_teacher_and_all_of_the_student_moves(objective):
    module, params = parameters(PAIR, objective.task)
    found = jax.jit(jax.grad(mean(objective, module)))(
        params, batch_for(objective), jax.random.key(0)
    )
    assert all(not leaf.any() for leaf in jax.tree.leaves(found["teacher"]))

    def still(tree):
        return {
            jax.tree_util.keystr(path, simple=True, separator="/").partition("/")[0]
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
            if not leaf.any()
        }

    # The last layer's attention has no say in a first stage's scores but by its keys and queries.
    assert still(found["student"]) <= ({"mlm_head"} if "Hidden" in str(objective) else set())
    uses_fit = not isinstance(objective, PredictionDistillation)
    assert bool(np.any(found["fit_dense"]["kernel"])) == uses_fit


@pytest.mark.parametrize("objective", HIDDEN, ids=["general", "task"])
def test_a_student_equal_to_its_teacher_has_no_hidden_loss(objective):
    module, params = parameters(TWINS, objective.task)
    same = {**params, "student": params["teacher"]}
    value = mean(objective, module)
    assert value(same, batch_for(objective)) == pytest.approx(0.0, abs=1e-9)
    assert value(params | {"student": jax.tree.map(lambda p: 1.1 * p, same["student"])},
                 batch_for(objective)) > 1e-2  # fmt: skip


@pytest.mark.parametrize("soft_targets", ["tokens", "masked"])
def test_of_a_student_equal_to_its_teacher_only_the_language_model_is_left(soft_targets):
    objective = DistilMLM(MaskedLM(), soft_targets=soft_targets)
    module, params = parameters(TWINS, "masked_lm")
    same = {**params, "student": params["teacher"]}
    loss = run(objective, module, same, TEXTS)
    alone = run(MaskedLM(), module, same, TEXTS)
    np.testing.assert_allclose(loss.sum, 2.0 * alone.sum, rtol=1e-5)
    np.testing.assert_allclose(loss.counts["nll"], alone.counts["nll"], rtol=1e-5)
    assert loss.counts["cosine_weight"] == REAL.sum()
    assert loss.counts["soft_weight"] == (REAL.sum() if soft_targets == "tokens" else loss.weight)


@pytest.mark.parametrize("task", TASKS)
def test_a_student_equal_to_its_teacher_has_no_divergence(task):
    of, batch = TASKS[task]
    objective = PredictionDistillation(of)
    module, params = parameters(TWINS, of.task)
    changed = jax.tree.map(lambda p: 1.1 * p, params["teacher"])
    compiled = jax.jit(functools.partial(objective.loss, module))
    same = compiled({**params, "student": params["teacher"]}, batch, None)
    other = compiled({**params, "student": changed}, batch, None)
    assert same.counts["divergence"] == pytest.approx(0.0, abs=1e-6)
    assert same.sum > 0 and other.counts["divergence"] > 1e-5
    assert same.weight == {"tags": (MASKABLE > 0).sum()}.get(task, 2)


@pytest.mark.parametrize(
    "objective", [DistilMLM(MaskedLM()), *HIDDEN, *map(PredictionDistillation, [TASKS["spans"][0]])]
)
def test_padding_changes_nothing(objective):
    """A row and a batch of longer rows, with masking left aside, have the same losses."""
    objective = dataclasses.replace(objective, of=Unmasked(objective.of))
    module, params = parameters(PAIR, objective.task)

    def padded(by):
        batch = {name: np.pad(x, ((0, 1), (0, by))) for name, x in READ.items()}
        return run(objective, module, params, batch)

    short, long = padded(0), padded(3)
    np.testing.assert_allclose(short.sum, long.sum, rtol=1e-4)
    assert short.weight == long.weight > 0


@dataclasses.dataclass(frozen=True)
class Unmasked:
    """An objective whose masking, where it has one, asks for the first token of each text."""

    of: object

    def __getattr__(self, name):
        if name == "mask" and hasattr(self.of, "mask"):
            return self.first
        return getattr(object.__getattribute__(self, "of"), name)

    def first(self, batch, config, key):
        places = jnp.zeros((len(batch["input_ids"]), 1), jnp.int32)
        labels = jnp.where(jnp.asarray(batch["input_ids"][:, :1]) == 0, -100, 5)
        return {**batch, "predict_positions": places}, labels


def test_the_teacher_drops_nothing_and_the_student_does():
    module, params = parameters(PAIR, "base")
    both = jax.jit(functools.partial(run_both, module))
    seen = [both(params, READ, jax.random.key(seed)) for seed in (0, 1)]
    states = [[who.output.last_hidden_state for who in both] for both in seen]
    np.testing.assert_array_equal(states[0][1], states[1][1])
    assert np.abs(states[0][0] - states[1][0]).max() > 1e-3


def test_layers_learn_from_the_last_of_their_block():
    """With layers of zero error otherwise, changing the teacher's other layers changes nothing."""
    assert mapped_layers(2, 4) == (1, 3) and mapped_layers(6, 12)[-1] == 11
    config = DistillationConfig(dataclasses.replace(THIN, num_layers=2), TEACHER)
    module, params = parameters(config, "base")
    both = jax.jit(functools.partial(run_both, module, inside=True))
    student, teacher = both(params, READ, None)
    assert len(student.inside.states_LBTD) == 3 and len(teacher.inside.states_LBTD) == 5
    np.testing.assert_array_equal(teacher.inside.states_LBTD[-1], teacher.output.last_hidden_state)

    fit = jax.jit(functools.partial(module.apply, method="fit"))
    fitted = fit({"params": params}, student.inside.states_LBTD)
    real = REAL.astype(bool)
    expected = sum(
        np.sum((fitted[m] - teacher.inside.states_LBTD[2 * m])[real] ** 2) / 8 for m in range(3)
    )
    loss = run(HiddenDistillation(Classification()), module, params, LABELLED)
    np.testing.assert_allclose(loss.counts["hidden"], expected, rtol=1e-5)


def trained(objective, module, params, batch, name, steps=150):
    """Parameters after some steps of Adam, and the history of one of the loss's counts."""
    optimizer = optax.adam(2e-2)

    @jax.jit
    def step(params, state, batch):
        def mean_loss(params):
            loss = objective.loss(module, params, batch, None)
            return loss.sum / loss.weight, loss.counts[name] / loss.weight

        grads, found = jax.grad(mean_loss, has_aux=True)(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, found

    state, history = optimizer.init(params), []
    for _ in range(steps):
        params, state, found = step(params, state, batch)
        history.append(float(found))
    return params, history


@pytest.mark.slow
def test_a_student_approaches_its_teacher():
    """Both stages, one after the other, on random texts; the teacher stays as it was."""
    module, params = parameters(PAIR, "sequence_classification", seed=3)
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 19, (64, 6)).astype(np.int32)
    batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids}
    teacher = params["teacher"]
    for objective, name, left in (
        (HiddenDistillation(Classification()), "hidden", 0.6),
        (PredictionDistillation(Classification()), "divergence", 0.3),
    ):
        params, history = trained(objective, module, params, batch, name)
        assert history[-1] < left * history[0], (name, history[0], history[-1])
    assert_close(params["teacher"], teacher)


def test_predictions_and_scores_are_the_students():
    objective = PredictionDistillation(Classification())
    module, params = parameters(PAIR, "sequence_classification")
    found = jax.jit(functools.partial(objective.predict, module))(params, LABELLED)
    alone = THIN.build("sequence_classification")
    expected = jax.jit(functools.partial(Classification().predict, alone))(
        params["student"], LABELLED
    )
    np.testing.assert_array_equal(found["probabilities"], expected["probabilities"])
    assert objective.metric == "accuracy" and objective.predicts and objective.higher_is_better
    assert copy.deepcopy(objective) == objective


def test_a_regression_learns_from_its_numbers():
    objective = PredictionDistillation(Regression())
    config = DistillationConfig(*(dataclasses.replace(c, num_labels=1) for c in (THIN, TEACHER)))
    module, params = parameters(config, "sequence_classification")
    batch = {**READ, "labels": np.array([0.5, np.nan], np.float32)}
    loss = run(objective, module, params, batch)
    alone = config.student.build("sequence_classification")
    value = jax.jit(alone.apply)({"params": params["student"]}, **READ).logits[0, 0]
    np.testing.assert_allclose(loss.sum, (value - 0.5) ** 2, rtol=1e-4)


def test_the_log_has_each_loss_over_its_own_weight():
    objective = DistilMLM(MaskedLM())
    module, params = parameters(PAIR, "masked_lm")
    loss = run(objective, module, params, TEXTS)
    means = {name: float(x / loss.weight) for name, x in loss.counts.items()}
    found = objective.measures({"loss": float(loss.sum / loss.weight), **means})
    assert found["loss"] == pytest.approx(float(loss.sum / loss.weight), rel=1e-4)
    assert found["cosine_loss"] == pytest.approx(
        float(loss.counts["cosine_loss"]) / REAL.sum(), rel=1e-5
    )


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: DistilMLM(MaskedLM(), temperature=0.0), "temperature is 0.0"),
        (lambda: DistilMLM(MaskedLM(), soft_weight=-1.0), "soft_weight is -1.0"),
        (lambda: DistilMLM(MaskedLM(), soft_targets="all"), "soft_targets"),
        (lambda: DistilMLM(Classification()), "masked language model"),
        (lambda: PredictionDistillation(MaskedLM()).collate(PAIR), "DistilMLM"),
        (lambda: HiddenDistillation(MaskedLM()).collate(TEACHER), "BertConfig"),
        (
            lambda: HiddenDistillation(MaskedLM()).collate(
                DistillationConfig(dataclasses.replace(THIN, num_layers=3), TEACHER)
            ),
            "one must divide the other",
        ),
        (
            lambda: HiddenDistillation(MaskedLM()).collate(
                DistillationConfig(dataclasses.replace(THIN, num_heads=4), TEACHER)
            ),
            "num_heads is 4",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused(build, words):
    with pytest.raises(InputError, match=words):
        build()


def test_a_pair_is_collated_with_the_token_types_that_one_of_them_needs():
    config = DistillationConfig(
        DistilBertConfig(**{**SIZES, "hidden_size": 8, "num_layers": 2}), TEACHER
    )
    collate = PredictionDistillation(Classification()).collate(config)
    row = {"input_ids": [2, 5, 3], "token_type_ids": [0, 1, 1], "labels": [1]}
    batch = collate([row], 2, 4)
    np.testing.assert_array_equal(batch["token_type_ids"][0], [0, 1, 1, 0])
