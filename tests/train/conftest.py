"""Tiny trained runs, shared by all tests that only read them. Copy one before changing it."""

from tests.train.runs import classified, labelled_examples, masked, trained
from tests.train.traced import traced_once

__all__ = ["classified", "labelled_examples", "masked", "traced_once", "trained"]
