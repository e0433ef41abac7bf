"""ULMFiT in its three stages on real text: WikiText-2, reviews of IMDb, their sentiment.

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/wiki.*.tokens and imdb/train.tsv
python -m train stages configs/wikitext/ulmfit_mini.py --workdir runs/ulmfit

For the backward model: --language.objective.backward, --domain.objective.backward and
--classifier.objective.backward, in another folder. `python -m benchmarks.ulmfit` compares the
stages, and what few labels are worth; docs/ulmfit.md. The first stage by itself:
python -m train run configs/wikitext/ulmfit_mini.py --workdir runs/wikitext_lstm
"""

from configs._ulmfit import domain, language_model
from configs.finetune import ulmfit_imdb
from configs.wikitext._corpus import FOLDER
from train.experiment import Experiment
from train.sources import TextFile


def stages() -> dict[str, Experiment]:
    """The stages, each of which begins from the one before."""
    general = language_model(
        "ulmfit_wikitext",
        ulmfit_imdb.MODEL,
        TextFile(
            train=f"{FOLDER}/wiki.train.tokens",
            validation=f"{FOLDER}/wiki.valid.tokens",
            unit="article",
        ),
        streams=32,
        bptt=64,
        longest=72,
        steps=1500,
    )
    last = ulmfit_imdb.config()
    return {
        "language": general,
        "domain": domain(general, "ulmfit_imdb_domain", last.source, steps=900),
        "classifier": last,
    }


def config() -> Experiment:
    """The first stage."""
    return stages()["language"]
