"""Models in Hugging Face's format: read, written, and what is what in both."""

from flaxformers_edu.interop.configs import config_from_hf, config_to_hf
from flaxformers_edu.interop.hdf5 import is_elmo
from flaxformers_edu.interop.pretrained import Pretrained, from_pretrained, pretrained_config
from flaxformers_edu.interop.saving import save_pretrained
from flaxformers_edu.interop.weights import read_weights

__all__ = [
    "Pretrained",
    "config_from_hf",
    "config_to_hf",
    "from_pretrained",
    "is_elmo",
    "pretrained_config",
    "read_weights",
    "save_pretrained",
]
