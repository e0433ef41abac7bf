"""The large GPT of the ladder on made-up mappings: 2 layers of width 128.

python -m train run configs/few_shot/large.py --workdir runs/few_shot/large

benchmarks/few_shot.py trains all three and asks them for mappings that they have not seen.
"""

from configs.few_shot._ladder import rung
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return rung("large", hidden_size=128)
