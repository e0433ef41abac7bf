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
ENDS = {"bos_token_id": 2, "eos_token_id": 2}
GPT = {
    "vocab_size": V,
    "n_positions": POSITIONS,
    "n_embd": 24,
    "n_layer": 3,
    "n_head": 3,
    "pad_token_id": 0,
} | ENDS
LLAMA = SIZES | {"num_attention_heads": 6, "num_key_value_heads": 3, "pad_token_id": 0} | ENDS
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
    "openai-gpt": ("openai-gpt", GPT),
    "gpt2": ("gpt2", GPT | {"n_inner": 37}),
    "gpt2, untied": ("gpt2", GPT | {"tie_word_embeddings": False}),
    "gpt_neo": (
        "gpt_neo",
        {
            "vocab_size": V,
            "hidden_size": 24,
            "num_layers": 3,
            "num_heads": 3,
            "intermediate_size": 37,
            "max_position_embeddings": POSITIONS,
            "attention_types": [[["local", "global"], 1], [["local"], 1]],
            "window_size": 4,
            "pad_token_id": 0,
        }
        | ENDS,
    ),
    "llama": ("llama", LLAMA),
    "llama, tied and stretched": (
        "llama",
        LLAMA
        | {
            "tie_word_embeddings": True,
            "head_dim": 10,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 50.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
}
"""A case's `model_type` and what is not as usual in its config."""


def classes_of(case):
    """The tasks of a case, and Hugging Face's class for each."""
    from flaxformers_edu.interop.tables import FAMILIES

    return FAMILIES[CASES[case][0]].classes


def is_decoder(case):
    """Whether a case is of those that read from the left to the right alone."""
    return CASES[case][0] in ("openai-gpt", "gpt2", "gpt_neo", "llama")


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
    tables = ("wte", "wpe", "tokens_embed", "positions_embed", "embed_tokens")
    if "embeddings." in name or name.startswith(tables):
        return 0.7 * noise
    return noise / max(shape) ** 0.5 if len(shape) == 2 else 0.3 * noise


def inputs_of(case, task):
    """Three rows of odd lengths with padding and, where there are some, segments.

    Decoders have padding on the left, too; not where what is said of padding enters the loss.
    """
    generator = np.random.default_rng(7)
    T = 13
    lengths = np.array([T, 7, 1, 10, 12, 5] if task == "multiple_choice" else [T, 7, 2])
    if case == "gpt_neo" and task == "question_answering":
        # Padding enters this loss, too, and must have something to see in its windows of 4.
        lengths = np.array([T, T - 2, T - 1])
    pad = 1 if case == "roberta" else 0
    ids = generator.integers(4, V, (len(lengths), T))
    mask = (np.arange(T) < lengths[:, None]).astype(np.int32)
    if is_decoder(case) and task != "question_answering":
        mask[1::2] = mask[1::2, ::-1]
    batch = {"input_ids": np.where(mask, ids, pad).astype(np.int32), "attention_mask": mask}
    types = CASES[case][1].get("type_vocab_size", 2 if case == "tinybert" else 1)
    if case != "distilbert" and not is_decoder(case):
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
    # What comes first is predicted from padding, or from nothing.
    follows = (mask > 0) & (np.roll(mask, 1, axis=-1) > 0)
    next_words = np.where(follows, generator.integers(0, V, mask.shape), -100)
    match task:
        case "masked_lm":
            return {"labels": words}
        case "causal_lm":
            return {"labels": next_words}
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
        case "multiple_choice" if is_decoder(case):
            return {"labels": next_words, "mc_labels": np.array([2, 0])}
        case "multiple_choice":
            return {"labels": np.array([2, 0])}
    return {}


def outputs_of(model, batch, labels):
    """Every output of Hugging Face's model by name, and the gradients of its loss by weight."""
    if model.config.model_type in ("openai-gpt", "gpt2", "gpt_neo", "llama"):
        batch = batch | _places_of(batch["attention_mask"])
    tensors = {name: torch.tensor(value).long() for name, value in {**batch, **labels}.items()}
    result = model(**tensors, output_hidden_states=True)
    found = {
        name: value.detach().numpy()
        for name, value in result.items()
        if isinstance(value, torch.Tensor)
    }
    found["hidden_states"] = [state.detach().numpy() for state in result.hidden_states]
    loss = result.loss if labels else _sum_of_cubes(result, tensors["attention_mask"])
    if "mc_logits" in found:
        found["lm_logits"], found["logits"] = found["logits"], found.pop("mc_logits")
        loss = loss + result.mc_loss
    found["loss"] = loss.item()
    loss.backward()
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
    }
    return found, {name: gradient.numpy() for name, gradient in gradients.items()}


def _places_of(mask):
    """Positions that count real tokens, as `generate` has them; of choices, where each is read."""
    *rows, T = mask.shape
    flat = mask.reshape(-1, T)
    places = {"position_ids": np.maximum(np.cumsum(flat, axis=1) - 1, 0)}
    if len(rows) == 1:
        return places
    last = T - 1 - np.argmax(flat[:, ::-1], axis=1)
    return places | {"attention_mask": flat, "mc_token_ids": last.reshape(rows)}


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
