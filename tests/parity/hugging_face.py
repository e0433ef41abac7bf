"""Models of Hugging Face with random weights of odd sizes: every family, every task.

Dims: B batch, C choices, T length, N labels, V vocabulary.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
import transformers

V, N, POSITIONS, TYPES = 53, 5, 29, 3
SIZES = {
    "vocab_size": V,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": POSITIONS,
}
CASES = {
    "bert": ("bert", SIZES | {"type_vocab_size": TYPES}),
    "roberta": ("roberta", SIZES | {"type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "albert": ("albert", SIZES | {"type_vocab_size": TYPES, "embedding_size": 14}),
    "albert, groups": (
        "albert",
        SIZES
        | {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}
        | {"embedding_size": 14, "type_vocab_size": TYPES},
    ),
    "electra": ("electra", SIZES | {"type_vocab_size": TYPES, "embedding_size": 14}),
    "electra, wide": ("electra", SIZES | {"type_vocab_size": TYPES, "embedding_size": 24}),
    "distilbert": (
        "distilbert",
        {k: v for k, v in SIZES.items() if k != "intermediate_size"} | {"hidden_dim": 37},
    ),
    # TinyBERT's is the same class with a width of its own inside.
    "tinybert": (
        "bert",
        SIZES | {"hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 50},
    ),
    "gpt2": (
        "gpt2",
        {
            "vocab_size": V,
            "n_positions": POSITIONS,
            "n_embd": 24,
            "n_layer": 3,
            "n_head": 3,
            "n_inner": 37,
            "bos_token_id": 2,
            "eos_token_id": 2,
        },
    ),
}
"""A case's `model_type` and what is not as usual in its config."""


def classes_of(case):
    """The tasks of a case, and Hugging Face's class for each."""
    from flaxformers_edu.interop.tables import FAMILIES

    return FAMILIES[CASES[case][0]].classes


def make(case, task, **config):
    """A model in evaluation mode with weights that follow from their names, loud enough."""
    architecture = getattr(transformers, classes_of(case)[task])
    sizes = {**CASES[case][1], **config}
    if task in ("sequence_classification", "token_classification"):
        sizes = {"num_labels": N, **sizes}
    made = architecture.config_class(attn_implementation="eager", **sizes)
    model = architecture(made).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            plain = name.removeprefix(f"{model.base_model_prefix}.")
            parameter.copy_(torch.tensor(_random(plain, tuple(parameter.shape))))
    return model


def _random(name, shape):
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    noise = generator.normal(size=shape)
    if "norm" in name.lower() or ".ln_" in name or name.startswith("ln_"):
        return 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)
    if "embeddings." in name or name.startswith(("wte", "wpe")):
        return 0.7 * noise
    return noise / max(shape) ** 0.5 if len(shape) == 2 else 0.3 * noise


def inputs_of(case, task):
    """Three rows of odd lengths with padding and, where there are some, segments."""
    generator = np.random.default_rng(7)
    T = 13
    lengths = np.array([T, 7, 1, 10, 12, 5] if task == "multiple_choice" else [T, 7, 2])
    pad = 1 if case == "roberta" else 0
    ids = generator.integers(4, V, (len(lengths), T))
    mask = (np.arange(T) < lengths[:, None]).astype(np.int32)
    batch = {"input_ids": np.where(mask, ids, pad).astype(np.int32), "attention_mask": mask}
    types = CASES[case][1].get("type_vocab_size", 2 if case == "tinybert" else 1)
    if case not in ("distilbert", "gpt2"):
        rows = generator.integers(0, types, (len(lengths), T)).astype(np.int32)
        batch["token_type_ids"] = rows
    if task == "multiple_choice":
        batch = {name: value.reshape(2, 3, T) for name, value in batch.items()}
    return batch


def labels_of(task, case, mask):
    """What Hugging Face's loss takes, as numpy; empty where it has none."""
    generator = np.random.default_rng(8)
    rows = mask.shape[0]
    tokens = np.where((generator.random(mask.shape) < 0.6) & (mask > 0), 1, 0)
    words = np.where(tokens, generator.integers(0, V, mask.shape), -100)
    two = generator.integers(0, 2, rows)
    match task:
        case "masked_lm":
            return {"labels": words}
        case "causal_lm":
            return {"labels": np.where(mask > 0, generator.integers(0, V, mask.shape), -100)}
        case "pretraining" if case.startswith("electra"):
            return {"labels": tokens}
        case "pretraining" if case.startswith("albert"):
            return {"labels": words, "sentence_order_label": two}
        case "pretraining":
            return {"labels": words, "next_sentence_label": two}
        case "sequence_classification":
            return {"labels": generator.integers(0, N, rows)}
        case "token_classification":
            return {"labels": np.where(tokens, generator.integers(0, N, mask.shape), -100)}
        case "question_answering":
            return {"start_positions": np.array([3, 2, 0]), "end_positions": np.array([9, 6, 1])}
        case "multiple_choice":
            return {"labels": np.array([2, 0])}
    return {}


def outputs_of(model, batch, labels):
    """Every output of Hugging Face's model by name, and the gradients of its loss by weight."""
    tensors = {name: torch.tensor(value).long() for name, value in {**batch, **labels}.items()}
    result = model(**tensors, output_hidden_states=True)
    found = {
        name: value.detach().numpy()
        for name, value in result.items()
        if isinstance(value, torch.Tensor)
    }
    found["hidden_states"] = [state.detach().numpy() for state in result.hidden_states]
    loss = result.loss if labels else _sum_of_cubes(result, tensors["attention_mask"])
    found["loss"] = loss.item()
    loss.backward()
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
    }
    return found, {name: gradient.numpy() for name, gradient in gradients.items()}


def _sum_of_cubes(result, mask):
    """Where there is no loss: of the states of real tokens, and of what is pooled."""
    total = ((result.hidden_states[-1] * mask[..., None]) ** 3).mean()
    pooled = result.get("pooler_output")
    return total if pooled is None else total + (pooled**2).mean()


def write(folder, model, **settings):
    """The model's folder as Hugging Face writes it."""
    model.save_pretrained(folder, **settings)
    return Path(folder)


def read_config(folder):
    """config.json."""
    return json.loads((Path(folder) / "config.json").read_text())
