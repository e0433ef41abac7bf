"""GPT-3 Medium, 350M parameters (Brown et al. 2020, table 2.1), on C4, not on its own corpus.

    python -m train run configs/gpt3_350m.py --workdir runs/gpt3_350m --source.download

About half a million tokens a step and a rate of 3e-4, for 300 billion tokens; made for 8 chips of
TPU v5p, and 16 at most; it has not been trained here. What it needs: docs/plans/gpt3.md, and what
is published of it: configs/_gpt3.py.
"""

from configs._gpt3 import gpt3
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return gpt3("350m")
