"""What else a config.json may say: drawn at random, computed as Hugging Face does, written back."""

import zlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

import flaxformers_edu as ff  # noqa: E402
from tests.parity import hugging_face  # noqa: E402

ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu")
ENCODER = {
    "hidden_act": ACTIVATIONS,
    "layer_norm_eps": (1e-3, 1e-12),
    "pad_token_id": (0, 2, 3),
    "num_labels": (2, 7),
    "classifier_dropout": (0.3,),
}
GPT = {"layer_norm_epsilon": (1e-3,), "num_labels": (2, 7)}
OPTIONS = {
    "bert": ENCODER | {"type_vocab_size": (1, 5)},
    "roberta": ENCODER | {"type_vocab_size": (2,)},
    "albert": ENCODER,
    "electra": ENCODER,
    "distilbert": {
        "activation": ("gelu", "relu"),
        "sinusoidal_pos_embds": (True,),
        "pad_token_id": (0, 3),
        "num_labels": (2, 7),
    },
    "openai-gpt": GPT | {"afn": ("gelu", "relu", "silu")},
    "gpt2": GPT | {"activation_function": ACTIVATIONS, "reorder_and_upcast_attn": (True,)},
    "gpt_neo": GPT | {"activation_function": ACTIVATIONS, "window_size": (1, 2, 20)},
    "llama": {"hidden_act": ("silu", "gelu"), "rms_norm_eps": (1e-3,), "head_dim": (4, 6)},
}
"""By `model_type`: fields of config.json, and values that are not as usual."""
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", hugging_face.CASES)
def test_options(case, seed, tmp_path):
    generator = np.random.default_rng([seed, zlib.crc32(case.encode())])
    of_family = OPTIONS[hugging_face.CASES[case][0]]
    chosen = generator.permutation(list(of_family))[: 1 + seed % 3]
    config = {name: of_family[name][generator.integers(len(of_family[name]))] for name in chosen}
    tasks = list(hugging_face.classes_of(case))
    task = tasks[generator.integers(len(tasks))]
    if task in ("question_answering", "multiple_choice"):  # whose number of outputs is given
        config.pop("num_labels", None)
    theirs = hugging_face.make(case, task, **config)
    hugging_face.write(tmp_path / "theirs", theirs)

    batch = hugging_face.inputs_of(case, task)
    real = batch["attention_mask"] > 0
    padding = theirs.config.pad_token_id
    batch["input_ids"] = np.where(real, batch["input_ids"], padding).astype(np.int32)
    if "token_type_ids" in batch:
        batch["token_type_ids"] %= theirs.config.type_vocab_size
    labels = {}
    if task == "multiple_choice":  # theirs has its rows joined where it has no loss
        labels = hugging_face.labels_of(task, case, batch["attention_mask"])
    expected, _ = hugging_face.outputs_of(theirs, batch, labels)

    ours = ff.from_pretrained(tmp_path / "theirs", task)
    found = ours.model.apply({"params": ours.params}, **batch)
    compared = [name for name in vars(found) if name in expected]
    for name in compared:
        there = real if getattr(found, name).shape[: real.ndim] == real.shape else ...
        np.testing.assert_allclose(
            np.asarray(getattr(found, name))[there], expected[name][there], atol=2e-5, err_msg=name
        )
    assert compared

    ff.save_pretrained(tmp_path / "ours", ours)
    again = type(theirs).from_pretrained(tmp_path / "ours", attn_implementation="eager")
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, atol=0, rtol=0)
    assert {name: getattr(again.config, name) for name in config} == config
