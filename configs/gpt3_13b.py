"""GPT-3 13B (Brown et al. 2020, table 2.1), on C4 in place of its own corpus.

    python -m train run configs/gpt3_13b.py --workdir runs/gpt3_13b --source.download

About 2 million tokens a step and a rate of 1e-4, otherwise as configs/gpt3_1_3b.py; made for 64
chips of TPU v5p or more; it has not been trained here. What it needs: docs/plans/gpt3_13b.
"""

from configs.gpt3_1_3b import gpt3
from flaxformers_edu.sharding import MeshShape
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    mesh = MeshShape(data=1, fsdp=-1)
    return gpt3("gpt3_13b", "gpt3-13b", rows=1024, peak=1e-4, mesh=mesh, parts=2)
