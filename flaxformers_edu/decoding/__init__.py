"""Decoding: one `lax.while_loop` over a pure model step, and the strategies that plug into it."""

from flaxformers_edu.decoding.beam import BeamSearch
from flaxformers_edu.decoding.exhaustive import Exhaustive
from flaxformers_edu.decoding.generate import Generated, generate
from flaxformers_edu.decoding.greedy import Greedy
from flaxformers_edu.decoding.lines import Continuation
from flaxformers_edu.decoding.logits import Filters, Processors, filtered_log_probs
from flaxformers_edu.decoding.loop import Decoded, Strategy, decode, reorder_cache
from flaxformers_edu.decoding.sampling import Sampling
from flaxformers_edu.decoding.scoring import gnmt, huggingface
from flaxformers_edu.decoding.settings import Settings
from flaxformers_edu.decoding.stream import Stream
from flaxformers_edu.decoding.text import generate_text, stream_text

__all__ = [
    "BeamSearch",
    "Continuation",
    "Decoded",
    "Exhaustive",
    "Filters",
    "Generated",
    "Greedy",
    "Processors",
    "Sampling",
    "Settings",
    "Strategy",
    "Stream",
    "decode",
    "filtered_log_probs",
    "generate",
    "generate_text",
    "gnmt",
    "huggingface",
    "reorder_cache",
    "stream_text",
]
