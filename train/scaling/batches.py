"""Batches of random tokens, for what depends on shapes and not on text."""

from typing import Any

import numpy as np

from train.experiment import Experiment

FIRST_TOKEN = 4
"""Below it lie the special ids of sentencepiece."""


def random_batch(experiment: Experiment, rows: int, length: int, seed: int) -> dict[str, Any]:
    """Full rows, as the experiment's objective collates them: [rows, length].

    Tokens are drawn by Zipf's law: their frequencies are something that a model learns at once.
    """
    rng = np.random.default_rng(seed)
    weights_V = 1 / np.arange(1, experiment.model.vocab_size - FIRST_TOKEN + 1)
    p_V = weights_V / weights_V.sum()
    ids_BT = FIRST_TOKEN + rng.choice(len(p_V), size=(rows, length), p=p_V)
    examples: list[Any] = [{"input_ids": ids_T, "labels": ids_T} for ids_T in ids_BT]
    packing = experiment.batching.packing
    collate = experiment.objective.collate(experiment.model, packed=packing)
    return collate([[one] for one in examples] if packing else examples, rows, length)
