"""Tokenisers, and batches of few fixed shapes."""

from flaxformers_edu.text.tokenizer import Tokenizer, load_tokenizer

__all__ = ["Tokenizer", "load_tokenizer"]
