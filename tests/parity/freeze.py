"""Makes tests/interop/frozen/*.npz: what Hugging Face computes, for tests that run without it.

python -m tests.parity.freeze [NAME ...]

One file a family, and one of ALBERT with groups of layers: config, weights and outputs of every
task, on one batch with padding and segments. Weights that several tasks have are kept once.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from tests.parity import hugging_face

FOLDER = Path(__file__).parent.parent / "interop" / "frozen"
CASES = {
    "bert": "bert",
    "roberta": "roberta",
    "albert": "albert",
    "albert_groups": "albert, groups",
    "electra": "electra",
    "distilbert": "distilbert",
    "gpt1": "openai-gpt",
    "gpt2": "gpt2",
    "gpt_neo": "gpt_neo",
    "llama": "llama",
    "llama_tied": "llama, tied and stretched",
}


def freeze(case):
    """All that is kept of a case, by name."""
    kept, weights = {}, {}
    tasks = ("base", "pretraining") if "groups" in case else hugging_face.classes_of(case)
    for task in tasks:
        model = _rounded(hugging_face.make(case, task))
        batch = hugging_face.inputs_of(case, task)
        labels = hugging_face.labels_of(task, case, batch["attention_mask"])
        outputs, _ = hugging_face.outputs_of(model, batch, labels)
        saved = _saved(model)
        for name, value in saved.items():
            plain = name.removeprefix(f"{model.base_model_prefix}.")
            key = plain if np.array_equal(weights.setdefault(plain, value), value) else None
            kept[f"weights/{plain}" if key else f"{task}/weights/{plain}"] = value
        kept[f"{task}/names"] = np.array(sorted(saved))
        kept[f"{task}/config"] = np.array(json.dumps(model.config.to_dict()))
        own = ("multiple_choice", "question_answering")  # other shapes, or other padding
        start = f"{task}/inputs/" if task in own else "inputs/"
        kept |= {start + name: value for name, value in batch.items()}
        kept |= {
            f"{task}/outputs/{name}": value
            for name, value in outputs.items()
            if name not in ("loss", "hidden_states", "lm_logits")
        }
    return kept


def _rounded(model):
    """With weights that half precision holds: the files are half as large."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    return model


def _saved(model):
    """What `save_pretrained` keeps, without the copies of tied weights."""
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    if not getattr(model.config, "tie_word_embeddings", True):
        tied = set()
    return {name: p.numpy() for name, p in model.state_dict().items() if name not in tied}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or CASES:
        path = FOLDER / f"{name}.npz"
        np.savez_compressed(path, **freeze(CASES[name]))
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
