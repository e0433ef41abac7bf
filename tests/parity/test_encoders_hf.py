"""Every encoder and every task against Hugging Face: outputs, hidden states, gradients.

Dims: T length.
"""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

from flaxformers_edu.interop.configs import config_to_hf  # noqa: E402
from flaxformers_edu.interop.conventions import convention_for  # noqa: E402
from flaxformers_edu.interop.matching import match_tree  # noqa: E402
from flaxformers_edu.interop.names import plain_names  # noqa: E402
from flaxformers_edu.layers.stack import unstack_layers  # noqa: E402
from flaxformers_edu.models import (  # noqa: E402
    AlbertConfig,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
)
from tests.trees import assert_close, shapes  # noqa: E402

SIZES = dict(
    vocab_size=37,
    hidden_size=16,
    num_layers=3,
    num_heads=4,
    intermediate_size=24,
    max_length=11,
    eos_token_id=3,
    mask_token_id=4,
    num_labels=3,
)
CONFIGS = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(activation="relu", **SIZES),
    "albert": AlbertConfig(embedding_size=8, **SIZES),
    "albert, 2 groups of 2": AlbertConfig(
        embedding_size=16, num_groups=2, inner_group_num=2, **SIZES
    ),
    "electra": ElectraConfig(embedding_size=8, activation="relu", **SIZES),
    "electra, not projected": ElectraConfig(embedding_size=16, **SIZES),
    "distilbert": DistilBertConfig(**SIZES),
}
VARIANTS = ("albert, 2 groups of 2", "electra, not projected")
"""Of these one task shows what is different."""
CASES = [
    (name, task)
    for name, config in CONFIGS.items()
    for task in config.tasks
    if task != "joint_pretraining" and (name not in VARIANTS or task == "masked_lm")
]
ANSWERS = (
    "last_hidden_state",
    "pooler_output",
    "logits",
    "prediction_logits",
    "seq_relationship_logits",
    "sop_logits",
    "start_logits",
    "end_logits",
)
LENGTHS = (7, 4, 1, 6)


def hugging_face(config, task):
    """Their model of our config, with weights in which nothing is trivial."""
    hf = config_to_hf(config, task)
    make = getattr(transformers, hf.pop("architectures")[0])
    model = make(make.config_class(**hf, attn_implementation="eager")).eval()
    generator = np.random.default_rng(0)
    for name, weight in model.named_parameters():
        noise = generator.normal(size=weight.shape)
        size = weight.shape[-1] ** -0.5 if weight.ndim == 2 else 0.2
        is_scale = "norm" in name.lower() and name.endswith("weight")
        with torch.no_grad():
            weight.copy_(torch.tensor(size * noise + is_scale))
    return model


def to_ours(config, task, named):
    """Tensors of theirs by name, weights or gradients, as a tree of ours."""
    family = convention_for(config).family
    theirs = plain_names({name: x.detach().numpy() for name, x in named}, family, task)
    model = config.build(task)
    tree = nn.meta.unbox(shapes(model, **model.dummy_inputs()))
    leaves = []
    for match in match_tree(
        tree, family, task, layers_per_group=getattr(config, "inner_group_num", 1)
    ):
        of_layers = [match.form.to_ours(theirs.pop(name), match.shape) for name in match.names]
        leaves.append(jnp.asarray(np.stack(of_layers) if match.stacked else of_layers[0]))
    assert not theirs, f"no place for {sorted(theirs)}"
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def batch_of(config, task):
    """Rows of odd lengths, padded on the right, with two sentences where these are told apart."""
    generator = np.random.default_rng(1)
    T = max(LENGTHS)
    mask = (np.arange(T) < np.array(LENGTHS)[:, None]).astype(np.int32)
    ids = generator.integers(5, config.vocab_size, mask.shape)
    batch = {
        "input_ids": np.where(mask == 1, ids, config.pad_token_id).astype(np.int32),
        "attention_mask": mask,
    }
    if config.num_token_types > 1:
        batch["token_type_ids"] = generator.integers(0, 2, mask.shape).astype(np.int32) * mask
    if task == "multiple_choice":
        batch = {name: x.reshape(2, 2, T) for name, x in batch.items()}
    return batch


def outputs_of(output):
    """The answers by name, ours or theirs; not the states, which Hugging Face returns with some."""
    is_base = not any(hasattr(output, name) for name in ANSWERS[2:])
    answers = ANSWERS if is_base else ANSWERS[2:]
    return {
        name: getattr(output, name) for name in answers if getattr(output, name, None) is not None
    }


def total(outputs, mask, library):
    """A number that every answer has a part in, but what is said of padding."""
    generator = np.random.default_rng(2)
    result = 0.0
    for name in ANSWERS:
        if name not in outputs:
            continue
        x = outputs[name]
        weights = generator.normal(size=x.shape).astype(np.float32) / np.prod(x.shape) ** 0.5
        if tuple(x.shape[:2]) == mask.shape:
            weights = weights * mask.reshape(mask.shape + (1,) * (x.ndim - 2))
        result = result + (x * library(weights.astype(np.float32))).sum()
    return result


@pytest.mark.parametrize(("name", "task"), CASES)
def test_answers_and_gradients(name, task):
    config = CONFIGS[name]
    if task in ("question_answering", "pretraining"):  # they size these heads by the labels
        config = dataclasses.replace(config, num_labels=2)
    theirs, batch = hugging_face(config, task), batch_of(config, task)
    mask = batch["attention_mask"]
    answer = theirs(**{n: torch.tensor(x).long() for n, x in batch.items()})
    expected = outputs_of(answer)
    loss = total(expected, mask, torch.tensor)
    loss.backward()

    params = to_ours(config, task, theirs.named_parameters())
    model = config.build(task)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def ours(params):
        found = outputs_of(model.apply({"params": params}, **batch))
        return total(found, mask, jnp.asarray), found

    (our_loss, found), gradients = ours(params)
    assert set(found) == set(expected)
    for answer, x in found.items():
        y = expected[answer].detach().numpy()
        assert x.shape == y.shape
        assert np.std(y) > 0.05, f"{answer} says nothing"
        np.testing.assert_allclose(x, y, atol=2e-5, err_msg=answer)
    np.testing.assert_allclose(our_loss, loss.item(), atol=2e-5)
    named = {n: p.grad for n, p in theirs.named_parameters()}
    unused = [n for n, gradient in named.items() if gradient is None]
    assert not unused
    assert_close(gradients, to_ours(config, task, named.items()), atol=2e-5)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("layout", ["scanned", "unrolled"])
def test_every_hidden_state_and_attention_weight(name, layout):
    config = CONFIGS[name]
    theirs, batch = hugging_face(config, "base"), batch_of(config, "base")
    with torch.no_grad():
        answer = theirs(
            **{n: torch.tensor(x).long() for n, x in batch.items()},
            output_hidden_states=True,
            output_attentions=True,
        )
    params = to_ours(config, "base", theirs.named_parameters())
    params = params if layout == "scanned" else unstack_layers(params)
    model = dataclasses.replace(config, layout=layout).build("base")
    apply = jax.jit(partial(model.apply, mutable=["intermediates"]))
    _, seen = apply({"params": params}, **batch)
    seen = seen["intermediates"]
    states = [seen["embedded"], *seen["encoder"]["hidden_state"]]
    assert len(states) == len(answer.hidden_states) == config.depth + 1
    for ours, expected in zip(states, answer.hidden_states, strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-5)
    weights = seen["encoder"]["attention"]["weights"]
    np.testing.assert_allclose(weights, torch.stack(answer.attentions), atol=2e-5)
