"""flaxformers_edu: the lineage of NLP Transformers as pure functional Flax modules.

>>> import flaxformers_edu as ff
>>> sorted(name for name in ff.models.presets() if name.startswith("transformer"))
['transformer-base', 'transformer-big']
>>> ff.count_params(ff.models.presets()["transformer-base"], "seq2seq_lm")
63082496
"""

from flaxformers_edu import models, objectives
from flaxformers_edu.decoding import generate, generate_text, stream_text
from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import from_pretrained, save_pretrained
from flaxformers_edu.models import count_params
from flaxformers_edu.pipelines import pipeline

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "count_params",
    "from_pretrained",
    "generate",
    "generate_text",
    "models",
    "objectives",
    "pipeline",
    "save_pretrained",
    "stream_text",
]
