"""The medium GPT of the ladder on made-up mappings: 2 layers of width 64.

python -m train run configs/few_shot/medium.py --workdir runs/few_shot/medium

benchmarks/few_shot.py trains all three and asks them for mappings that they have not seen.
"""

from configs.few_shot._ladder import rung
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return rung("medium", hidden_size=64)
