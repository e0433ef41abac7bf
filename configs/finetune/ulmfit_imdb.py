"""IMDb by ULMFiT's last stage: whether a film review is positive. Accuracy on parts held out.

export FLAXFORMERS_DATA=...   # a folder that holds imdb/train.tsv: id, label, text
python -m train run configs/finetune/ulmfit_imdb.py --workdir runs/imdb --init FOLDER

FOLDER is the run of a language model, of general text or of these reviews
(configs/wikitext/ulmfit_mini.py). --source.examples 100 knows so many labels. A tenth of the file
is validation and another test, by a hash of the review. The first 128 tokens of a review are read.
"""

from configs._ulmfit import classifier, language_model
from flaxformers_edu.models import AWDLSTMConfig
from train.experiment import Experiment
from train.sources import FewExamples, Tsv

FILE = "$FLAXFORMERS_DATA/imdb/train.tsv"
MODEL = AWDLSTMConfig(
    vocab_size=4096,
    embedding_size=96,
    hidden_size=256,
    embedding_dropout=0.02,
    input_dropout=0.1,
    hidden_dropout=0.1,
    output_dropout=0.1,
    weight_dropout=0.1,
    pad_token_id=0,
    eos_token_id=1,
)


def config() -> Experiment:
    """The experiment: four fifths of an epoch of 8,000 reviews."""
    source = FewExamples(
        Tsv(
            train=FILE,
            validation=FILE,
            test=FILE,
            columns=("text=text", "label=label"),
            header=True,
        )
    )
    general = language_model("", MODEL, source, streams=32, bptt=64, longest=72, steps=400)
    return classifier(
        general,
        "ulmfit_imdb",
        source,
        ("negative", "positive"),
        rows=16,
        length=128,
        steps=400,
        unfreeze_every=40,
    )
