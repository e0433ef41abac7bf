"""GPT-3 175B (Brown et al. 2020, table 2.1), on C4 in place of its own corpus.

    python -m train run configs/gpt3_175b.py --workdir runs/gpt3_175b --source.download

About 3.2 million tokens a step and a rate of 0.6e-4, otherwise as configs/gpt3_1_3b.py; made for
512 chips of TPU v5p or more; it has not been trained here. What it needs: docs/plans/gpt3_175b.
"""

from configs.gpt3_1_3b import gpt3
from flaxformers_edu.sharding import MeshShape
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    mesh = MeshShape(data=1, fsdp=-1, tensor=4)
    return gpt3("gpt3_175b", "gpt3-175b", rows=1536, peak=0.6e-4, mesh=mesh, parts=4)
