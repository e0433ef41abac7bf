"""Decoding: one `lax.while_loop` over a pure model step, and the strategies that plug into it."""

from flaxformers_edu.decoding.beam import BeamSearch
from flaxformers_edu.decoding.exhaustive import Exhaustive
from flaxformers_edu.decoding.generate import Generated, generate
from flaxformers_edu.decoding.greedy import Greedy
from flaxformers_edu.decoding.logits import Filters, Processors, filtered_log_probs
from flaxformers_edu.decoding.loop import Decoded, Strategy, decode, reorder_cache
from flaxformers_edu.decoding.sampling import Sampling
from flaxformers_edu.decoding.scoring import gnmt, huggingface

__all__ = [
    "BeamSearch",
    "Decoded",
    "Exhaustive",
    "Filters",
    "Generated",
    "Greedy",
    "Processors",
    "Sampling",
    "Strategy",
    "decode",
    "filtered_log_probs",
    "generate",
    "gnmt",
    "huggingface",
    "reorder_cache",
]
