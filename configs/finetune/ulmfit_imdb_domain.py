"""ULMFiT's second stage on IMDb: a language model of film reviews, without their labels.

export FLAXFORMERS_DATA=...   # a folder that holds imdb/train.tsv: id, label, text
python -m train run configs/finetune/ulmfit_imdb_domain.py --workdir runs/reviews --init FOLDER

FOLDER is the run of a recurrent language model (configs/wikitext/ulmfit_mini.py). Reviews that the
classifier holds out are held out here, too.
"""

from configs.wikitext.ulmfit_mini import stages
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return stages()["domain"]
