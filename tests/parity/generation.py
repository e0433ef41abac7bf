"""The same search twice, here and in Hugging Face's `generate`, on random tiny models.

Letters: B prompts, P prompt length, M max new tokens, V vocabulary.
"""

import tempfile
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
import torch
import transformers

import flaxformers_edu as ff
from flaxformers_edu.decoding import Settings
from flaxformers_edu.decoding.request import strategy_of

B, P, M, V, PAD, ENDS = 4, 5, 10, 31, 3, (2, 5)
SIZES = {"hidden_size": 16, "intermediate_size": 40, "max_position_embeddings": 24}
FAMILIES = {
    "openai-gpt": (
        "OpenAIGPTConfig",
        {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 24},
    ),
    "gpt2": ("GPT2Config", {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 24}),
    "gpt_neo": (
        "GPTNeoConfig",
        SIZES
        | {"num_layers": 2, "num_heads": 4, "window_size": 4}
        | {"attention_types": [[["global", "local"], 1]]},
    ),
    "llama": (
        "LlamaConfig",
        SIZES | {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
    ),
}
UNPADDED = ("openai-gpt",)
"""Families whose `generate` leaves out the mask: prompts are of one length."""
BEAMS = {"num_beams": 3, "num_return_sequences": 2}
KINDS = {
    "greedy": [{}],
    "beams": [
        BEAMS | {"early_stopping": False},
        BEAMS | {"early_stopping": True},
        BEAMS | {"early_stopping": "never"},
    ],
    "constrained length": [
        {"min_new_tokens": 6},
        BEAMS | {"min_new_tokens": 6},
        BEAMS | {"min_new_tokens": M},
    ],
    # Theirs takes padding for text here: it must not come as such.
    "n-gram blocking": [
        {"no_repeat_ngram_size": 2, "suppress_tokens": [PAD]},
        BEAMS | {"no_repeat_ngram_size": 2, "suppress_tokens": [PAD]},
        BEAMS | {"no_repeat_ngram_size": 3, "suppress_tokens": [PAD]},
    ],
    "repetition penalty": [{"repetition_penalty": 1.4}, BEAMS | {"repetition_penalty": 1.4}],
    "banned tokens": [
        {"suppress_tokens": [7, 8], "bad_words_ids": [[9], [10, 11]]},
        BEAMS | {"suppress_tokens": [7, 8], "bad_words_ids": [[9], [10, 11]]},
    ],
    "stop sequences": [
        {"stop_sequences": [[12], [13, 14]]},
        BEAMS | {"stop_sequences": [[12], [13, 14]]},
    ],
}
"""By kind, settings that are compiled; what does not compile again follows from the seed."""
SAMPLING = [
    {"temperature": 0.7, "top_k": 5},
    {"top_p": 0.8},
    {"temperature": 1.4, "min_p": 0.1},
    {"repetition_penalty": 1.3, "top_k": 10, "top_p": 0.9},
    {"no_repeat_ngram_size": 2, "suppress_tokens": [PAD], "top_p": 0.9},
    {"min_new_tokens": 4, "temperature": 0.5, "top_k": 12, "top_p": 0.95, "min_p": 0.02},
]


@lru_cache(maxsize=1)
def models(family, seed):
    """Theirs with loud random weights, and ours with the same."""
    name, sizes = FAMILIES[family]
    ends = {"eos_token_id": ENDS[0], "bos_token_id": 1, "pad_token_id": PAD}
    config = getattr(transformers, name)(vocab_size=V, **sizes, **ends)
    theirs = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_scale = parameter.ndim == 1 and name.endswith("weight")
            loud = 0.3 if parameter.ndim == 2 else 0.1
            parameter.copy_((1.0 if is_scale else 0.0) + loud * noise)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = ff.from_pretrained(folder, "causal_lm", layout="unrolled")
    return theirs.eval(), ours


def prompts(family, seed):
    """Ids and mask of prompts of 1 to P tokens, none of them padding, padded on the left."""
    generator = np.random.default_rng(seed)
    lengths = np.array([P, *generator.integers(1, P + 1, B - 1)])[:, None]
    if family in UNPADDED:
        lengths[:] = P
    mask = (np.arange(P)[None] >= P - lengths).astype(np.int64)
    return np.where(mask, generator.integers(PAD + 1, V, (B, P)), PAD), mask


def varied(settings, seed):
    """The settings with what follows from the seed: values and tokens, of the same number."""
    settings = settings | {"max_new_tokens": M, "eos_token_id": list(ENDS), "pad_token_id": PAD}
    if "num_beams" in settings:
        settings["length_penalty"] = (-1.0, 0.0, 0.5, 1.0, 2.0)[seed % 5]
    if "repetition_penalty" in settings:
        settings["repetition_penalty"] = (0.8, 1.2, 1.4, 2.0)[seed % 4]

    def other(tokens):
        return [6 + (token - 6 + seed) % (V - 6) for token in tokens]

    for name in ("bad_words_ids", "stop_sequences"):
        if name in settings:
            settings[name] = [other(sequence) for sequence in settings[name]]
    return settings


class Stop(transformers.StoppingCriteria):
    """Stop sequences among the new tokens, in Hugging Face's terms."""

    def __init__(self, sequences):
        self.sequences = sequences

    def __call__(self, input_ids, scores, **_):
        new = input_ids[:, P:]
        ended = torch.zeros(len(new), dtype=torch.bool)
        for sequence in self.sequences:
            if new.shape[1] >= len(sequence):
                ended |= (new[:, -len(sequence) :] == torch.tensor(sequence)).all(dim=1)
        return ended


def compare(family, settings, seed):
    """The sequences of one search, ours and theirs: int arrays [sequences, length]."""
    theirs, ours = models(family, seed)
    ids, mask = prompts(family, seed)
    settings = varied(settings, seed)
    found = ff.generate(ours.model, ours.params, ids, mask, **settings)
    sequences = settings.pop("stop_sequences", [])
    expected = theirs.generate(
        torch.tensor(ids),
        attention_mask=torch.tensor(mask),
        do_sample=False,
        stopping_criteria=[Stop(sequences)] if sequences else None,
        **settings,
    )
    return np.asarray(found.sequences), expected.numpy()


def agreeing(found, expected):
    """How many sequences are equal, wherever the longest of each side ends."""
    if found.shape == expected.shape:
        return int((found == expected).all(axis=1).sum())
    length = min(found.shape[1], expected.shape[1])
    same = (found[:, :length] == expected[:, :length]).all(axis=1)
    for side in (found, expected):
        same &= np.isin(side[:, length:], (PAD, ENDS[0])).all(axis=1)
    return int(same.sum())


def compare_sampling(family, seed):
    """The largest deviation of a probability that samples are drawn with, and of how many draws."""
    theirs, ours = models(family, seed)
    ids, mask = prompts(family, seed)
    settings = SAMPLING[seed % len(SAMPLING)]
    common = {"max_new_tokens": M, "eos_token_id": list(ENDS), "pad_token_id": PAD}
    torch.manual_seed(seed)
    drawn = theirs.generate(
        torch.tensor(ids),
        attention_mask=torch.tensor(mask),
        do_sample=True,
        return_dict_in_generate=True,
        output_scores=True,
        **{"top_k": 0, **common, **settings},
    )
    sequences = drawn.sequences.numpy()
    steps = len(drawn.scores)
    whole = np.concatenate([mask, np.ones((B, steps), np.int64)], axis=1)
    logits = ours.model.apply({"params": ours.params}, sequences, attention_mask=whole).logits
    strategy = strategy_of(Settings(do_sample=True, **common, **settings), ours.config)
    context = jnp.where(mask == 1, ids, -1)
    new = np.pad(sequences[:, P:], ((0, 0), (0, M - steps)))[:, None]
    going, deviation, draws = np.ones(B, bool), 0.0, 0
    for t, scores in enumerate(drawn.scores):
        ruled = strategy.processors(logits[:, None, P - 1 + t], context, jnp.asarray(new), t)
        kept = strategy.filter(ruled)[:, 0]
        ours_BV = np.asarray(jnp.exp(kept - jnp.log(jnp.exp(kept).sum(axis=-1, keepdims=True))))
        theirs_BV = torch.softmax(scores, dim=-1).numpy()
        deviation = max(deviation, float(np.abs(ours_BV - theirs_BV)[going].max(initial=0.0)))
        draws += int(going.sum())
        going &= ~np.isin(sequences[:, P + t], ENDS)
    return deviation, draws
