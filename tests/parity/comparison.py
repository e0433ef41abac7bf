"""How far a model of ours is from Hugging Face's: outputs, states, loss and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import flaxformers_edu as ff
from flaxformers_edu.interop.conventions import convention_of
from flaxformers_edu.interop.matching import flat_paths, match_tree
from flaxformers_edu.interop.names import plain_names
from flaxformers_edu.interop.placing import place_leaf
from tests.parity import hugging_face

TOLERANCE = 2e-5


def compare(case, task, folder, **changes):
    """The largest deviation of each output, of the states, the loss and the gradients."""
    theirs = hugging_face.make(case, task)
    hugging_face.write(folder, theirs)
    batch = hugging_face.inputs_of(case, task)
    labels = hugging_face.labels_of(task, case, batch["attention_mask"])
    expected, gradients = hugging_face.outputs_of(theirs, batch, labels)

    loaded = ff.from_pretrained(folder, task, **changes)
    assert not loaded.initialised and not loaded.unused

    def measured(params):
        outputs, seen = loaded.model.apply({"params": params}, **batch, mutable=["intermediates"])
        loss = loss_of(task, outputs, labels, batch)
        if "mc_labels" in labels:  # a language model's loss beside that of the choices
            loss = loss + lm_loss_of(params, outputs)
        return loss, (outputs, seen)

    def lm_loss_of(params, outputs):
        x = outputs.last_hidden_state
        x = x.reshape(-1, *x.shape[-2:])
        logits = loaded.model.apply({"params": params}, x, method="to_logits")
        words = labels["labels"].reshape(logits.shape[:2])
        return _cross_entropy(logits[:, :-1], words[:, 1:])

    step = jax.jit(jax.value_and_grad(measured, has_aux=True))
    (loss, (outputs, seen)), ours = step(loaded.params)
    # What decoders say of padding on the left is of nothing, here and there; nothing looks there.
    decoder = hugging_face.is_decoder(case)
    real = batch["attention_mask"] > 0 if decoder else np.ones_like(batch["input_ids"]) > 0
    found = {
        name: _far(getattr(outputs, name), expected[name], real)
        for name in vars(outputs)
        if name in expected
    }
    found["hidden states"] = max(
        _far(ours, theirs.reshape(-1, *theirs.shape[-2:]), real.reshape(-1, real.shape[-1]))
        for ours, theirs in zip(_states(outputs, seen), expected["hidden_states"], strict=True)
    )
    found["loss"] = abs(float(loss) - expected["loss"])
    found["gradients"] = _far_gradients(ours, gradients, loaded, task)
    return found


def loss_of(task, outputs, labels, batch):
    """Hugging Face's loss of our outputs."""
    mask = jnp.asarray(batch["attention_mask"])
    if task == "base":
        if hasattr(outputs, "pooler_output"):
            total = ((outputs.last_hidden_state * mask[..., None]) ** 3).mean()
            pooled = outputs.pooler_output
            return total if pooled is None else total + (pooled**2).mean()
        return ((outputs.last_hidden_state * mask[..., None]) ** 3).mean()
    if task == "causal_lm":
        return _cross_entropy(outputs.logits[:, :-1], labels["labels"][:, 1:])
    if task == "question_answering":
        starts = _cross_entropy(outputs.start_logits, labels["start_positions"])
        return (starts + _cross_entropy(outputs.end_logits, labels["end_positions"])) / 2
    if task == "pretraining" and hasattr(outputs, "logits"):  # ELECTRA
        each = optax.sigmoid_binary_cross_entropy(outputs.logits, labels["labels"])
        return (each * mask).sum() / mask.sum()
    if task == "pretraining":
        name = "sop_logits" if hasattr(outputs, "sop_logits") else "seq_relationship_logits"
        (second,) = (value for key, value in labels.items() if key != "labels")
        words = _cross_entropy(outputs.prediction_logits, labels["labels"])
        return words + _cross_entropy(getattr(outputs, name), second)
    return _cross_entropy(outputs.logits, labels.get("mc_labels", labels["labels"]))


def _cross_entropy(logits, labels):
    labels = jnp.asarray(labels)
    counted = labels != -100
    each = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(counted, labels, 0))
    return jnp.where(counted, each, 0).sum() / counted.sum()


def _far(ours, theirs, real):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    ours = ours.reshape(theirs.shape)
    if theirs.shape[: real.ndim] == real.shape:
        ours, theirs = ours[real], theirs[real]
    return float(np.abs(ours - theirs).max())


def _states(outputs, seen):
    seen = seen["intermediates"]
    if "decoder" in seen:  # after the last layer theirs is normalised
        states = seen["decoder"]["hidden_state"][:-1]
        return [seen["embedded"], *states, outputs.last_hidden_state]
    return [seen["embedded"], *seen["encoder"]["hidden_state"]]


def _far_gradients(ours, gradients, loaded, task):
    family = convention_of(loaded.original).family
    inner = getattr(loaded.config, "inner_group_num", 1)
    tied = getattr(loaded.config, "tie_embeddings", True)
    theirs = plain_names(gradients, family, "", tied=tied)
    leaves = flat_paths(ours)
    # Of the row of padding torch gives the gradient of the output layer, but not of the lookup.
    with_padding = {"embeddings/token/embedding"}
    if family.name == "llama":
        with_padding.add("embedding/embedding")
    if family.name == "roberta":
        with_padding.add("embeddings/positions/embedding")
    far = 0.0
    for match in match_tree(ours, family, task, layers_per_group=inner):
        difference = np.abs(leaves[match.path] - place_leaf(match, theirs, None))
        if match.path in with_padding:
            difference = np.delete(difference, loaded.config.pad_token_id, axis=0)
        far = max(far, float(difference.max()))
    return far
