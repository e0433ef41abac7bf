"""flaxformers_edu: the lineage of NLP Transformers as pure functional Flax modules.

    import flaxformers_edu as ff

    ff.models.presets()                      # the published sizes
    model = ff.models.build(config, task)    # a Linen module
    ff.count_params(config, task)            # exact, nothing allocated
    ff.generate(model, params, input_ids, max_new_tokens=20, num_beams=5)
"""

from flaxformers_edu import models, objectives
from flaxformers_edu.decoding import generate
from flaxformers_edu.errors import InputError
from flaxformers_edu.models import count_params

__version__ = "0.1.0"

__all__ = ["InputError", "count_params", "generate", "models", "objectives"]
