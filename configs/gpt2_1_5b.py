"""GPT-2 of 1.5 billion parameters (Radford et al. 2019), its largest.

    python -m train run configs/gpt2_1_5b.py --workdir runs/gpt2_1_5b --source.download

As configs/gpt2_124m.py, which says what was not published, with the rate of the GPT-3 of about this
size. Made for 64 chips of TPU v5e or more; it has not been trained here.
"""

from configs.gpt2_124m import gpt2
from flaxformers_edu.sharding import MeshShape
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    mesh = MeshShape(data=1, fsdp=-1)
    return gpt2("gpt2_1_5b", "gpt2-xl", peak=2e-4, mesh=mesh, parts=2)
