"""WNUT-17 with ELMo's vectors: names in tweets and comments, most of them new. Entity F1.

export FLAXFORMERS_DATA=...   # a folder that holds ner_extra/wnut17/train.conll, dev.conll, ...
python -m train run configs/finetune/elmo_wnut17.py --workdir runs/elmo_wnut17 --init FOLDER

FOLDER is a run of configs/wikitext/elmo_mini.py, or a published model. The tagger reads a mixture
of the biLM's layers and characters of its own through a bidirectional LSTM. The same without ELMo:

python -m train run configs/finetune/elmo_wnut17.py --workdir runs/wnut17_without
    --model.head.features none --optimizer.frozen --optimizer.no-decay

And with the biLM tuned along: --init FOLDER --optimizer.frozen (and nothing behind it).
"""

from configs.finetune import wnut17
from configs.finetune._elmo import with_elmo
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment: small batches, for the set is small."""
    plain = wnut17.config()
    return with_elmo(
        "elmo_wnut17",
        plain.objective,
        plain.source,
        steps=2400,
        max_length=128,
        tokens_per_batch=256,
    )
