"""GPT-3 13B (Brown et al. 2020, table 2.1), on C4, not on its own corpus.

    python -m train run configs/gpt3_13b.py --workdir runs/gpt3_13b --source.download

About 2 million tokens a step and a rate of 1e-4, for 300 billion tokens; made for 64 chips of TPU
v5p; it has not been trained here. What it needs: docs/plans/gpt3.md, and what is published of it:
configs/_gpt3.py.
"""

from configs._gpt3 import gpt3
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return gpt3("13b")
