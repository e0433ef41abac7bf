"""ULMFiT in its three stages, small, without any files: prose of the standard library.

python -m train stages configs/ulmfit_mini.py --workdir runs/ulmfit_mini

A language model of its docstrings; the same of sentences from eight packages; and a classifier that
says which package a sentence is from. What is finished is left alone when it is called again.
`python -m train run configs/ulmfit_mini.py --workdir runs/lm` trains the first stage by itself.
"""

from configs._ulmfit import classifier, domain, language_model
from flaxformers_edu.models import AWDLSTMConfig
from train.experiment import Experiment
from train.sources import StdlibDocs, StdlibPackages

PACKAGES = ("asyncio", "email", "http", "importlib", "logging", "tkinter", "unittest", "xml")
MODEL = AWDLSTMConfig(
    vocab_size=2048,
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


def stages() -> dict[str, Experiment]:
    """The stages, each of which begins from the one before."""
    general = language_model(
        "ulmfit_mini", MODEL, StdlibDocs(), streams=16, bptt=35, longest=48, steps=600
    )
    task = StdlibPackages()
    return {
        "language": general,
        "domain": domain(general, "ulmfit_mini_domain", task, steps=300),
        "classifier": classifier(
            general,
            "ulmfit_mini_classifier",
            task,
            PACKAGES,
            rows=32,
            length=64,
            steps=600,
            unfreeze_every=100,
        ),
    }


def config() -> Experiment:
    """The first stage."""
    return stages()["language"]
