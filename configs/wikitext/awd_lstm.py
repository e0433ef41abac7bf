"""AWD-LSTM at its published size on WikiText-2, as Merity et al. 2017 train it (section 5).

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/wiki.{train,valid}.tokens
python -m train run configs/wikitext/awd_lstm.py --workdir runs/awd_lstm

SGD at a constant rate of 30, clipped at 0.25, with a decay of 1.2e-6; 80 streams, BPTT 70;
averaging is triggered by five evaluations without progress (NT-ASGD), one after each of 750 epochs.
Published are 33,278 words; here 8,192 pieces of a BPE. Made for an accelerator; it has not been
trained here.
"""

import dataclasses

from configs.wikitext.ulmfit_mini import config as small
from flaxformers_edu.models import presets
from flaxformers_edu.objectives import BPTTLanguageModel
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment
from train.pipeline import Batching

STREAMS, LONGEST, EPOCH = 80, 90, 480
"""Steps of 70 tokens in an epoch, about."""


def config() -> Experiment:
    """The experiment."""
    return dataclasses.replace(
        small(),
        name="awd_lstm_wikitext",
        model=dataclasses.replace(
            presets()["awd-lstm-wikitext2"], vocab_size=8192, pad_token_id=0, eos_token_id=1
        ),
        objective=BPTTLanguageModel(),
        batching=Batching(tokens_per_batch=STREAMS * LONGEST, max_source_length=LONGEST),
        optimizer=Optimizer(name="sgd", momentum=0.0, weight_decay=1.2e-6, clip_norm=0.25),
        schedule=Schedule(name="constant", peak=30.0, warmup_steps=0),
        nt_asgd=5,
        steps=750 * EPOCH,
        eval_every=EPOCH,
        checkpoint_every=EPOCH,
    )
