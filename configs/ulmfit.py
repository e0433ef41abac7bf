"""ULMFiT at its published size (Howard & Ruder 2018): WikiText-103, then IMDb.

python -m train stages configs/ulmfit.py --workdir runs/ulmfit --language.source.train FILE ...

The language model is AWD-LSTM's: 400 features, three layers of 1,152 units (as released), BPTT 70,
batch 64 (section 4.1). WikiText-103's files go to --language.source.train and .validation; IMDb
comes from TFDS, whose unlabelled reviews can be given to the second stage, too
(--domain.source.train train+unsupervised). Published are words; here 60,000 pieces are trained.
Made for an accelerator; it has not been trained here. The first stage by itself:
python -m train run configs/ulmfit.py --workdir runs/wikitext103
"""

import dataclasses

from configs._ulmfit import classifier, domain, language_model
from flaxformers_edu.models import presets
from train.experiment import Experiment
from train.sources import TextFile, Tfds

BATCH, EPOCH = 64, 22_000
"""Streams, and steps of 70 tokens in an epoch of WikiText-103, about."""
IMDB_EPOCH = 25_000 // BATCH


def stages() -> dict[str, Experiment]:
    """The stages, each of which begins from the one before."""
    model = dataclasses.replace(presets()["ulmfit"], pad_token_id=0, eos_token_id=1)
    folder = "$FLAXFORMERS_DATA/wikitext-103"
    general = language_model(
        "ulmfit",
        model,
        TextFile(
            train=f"{folder}/wiki.train.tokens",
            validation=f"{folder}/wiki.valid.tokens",
            unit="article",
        ),
        streams=BATCH,
        bptt=70,
        longest=85,
        steps=14 * EPOCH,
    )
    general = dataclasses.replace(
        general,
        objective=dataclasses.replace(general.objective, loss_chunks=4),
        eval_every=EPOCH,
        checkpoint_every=EPOCH // 4,
    )
    imdb = Tfds(
        name="imdb_reviews",
        columns=("text=text", "label=label"),
        validation="test",
        test="",
    )
    labels = ("neg", "pos")
    return {
        "language": general,
        "domain": domain(general, "ulmfit_domain", imdb, steps=15 * 1_700),
        "classifier": classifier(
            general,
            "ulmfit_classifier",
            imdb,
            labels,
            rows=BATCH,
            length=1440,
            steps=50 * IMDB_EPOCH,
            unfreeze_every=IMDB_EPOCH,
        ),
    }


def config() -> Experiment:
    """The first stage."""
    return stages()["language"]
