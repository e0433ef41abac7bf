"""A masked language model of the smallest kind."""

from tests.train.tiny_classifier import masked_config as config

__all__ = ["config"]
