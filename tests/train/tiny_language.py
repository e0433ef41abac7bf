"""The language model of `tiny_gpt`, as a config file."""

from tests.train.tiny_gpt import language_config as config

__all__ = ["config"]
