"""configs/wikitext/gpt_mini.py in the shape of Llama: as many parameters, the same recipe.

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/wiki.{train,valid}.tokens
python -m train run configs/wikitext/llama_mini.py --workdir runs/wikitext_llama

RMS norms, rotary positions, gated feed-forward networks, and heads of which five share their keys
and values; the output layer is the table of tokens, as in the smaller Llamas.
"""

import dataclasses

from configs.wikitext import gpt_mini
from flaxformers_edu.models import LlamaConfig
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    experiment = gpt_mini.config()
    gpt = experiment.model
    model = LlamaConfig(
        vocab_size=gpt.vocab_size,
        hidden_size=gpt.hidden_size,
        num_layers=gpt.num_layers,
        num_heads=10,
        num_kv_heads=2,
        intermediate_size=1024,
        tie_embeddings=True,
        max_length=gpt.max_length,
        pad_token_id=gpt.pad_token_id,
        eos_token_id=gpt.eos_token_id,
        layout=gpt.layout,
    )
    return dataclasses.replace(experiment, name="llama_mini_wikitext", model=model)
