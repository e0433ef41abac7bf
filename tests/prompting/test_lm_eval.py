"""Our model in lm-eval: its requests, a local task, and its own model for Hugging Face."""

import json
import math
import warnings

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting import Choice, Reader, evaluate_prompts
from tests.prompting.tiny import LENGTH, TEXT, plainly, pretrained

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance

    from flaxformers_edu.prompting.lm_eval import LMEvalModel

pytestmark = pytest.mark.filterwarnings("ignore")

PAIRS = [
    ("is the sky blue? answer:", " yes"),
    ("is the sky blue? answer:", " no, no"),
    ("is the sea red? answer: ", "no"),
    ("", "maybe the sky"),
    (TEXT, " yes"),
]


@pytest.fixture(scope="module")
def model():
    return LMEvalModel(pretrained(), batch_size=4)


def requests(kind, *arguments):
    return [Instance(kind, {}, args, index) for index, args in enumerate(arguments)]


def test_likelihoods_of_pairs(model):
    reader = Reader.of(pretrained())
    for (context, text), found in zip(
        PAIRS, model.loglikelihood(requests("loglikelihood", *PAIRS)), strict=True
    ):
        bare = context.rstrip()
        whole, before = reader.encode(context + text), reader.encode(bare)
        ids = whole[len(before) :]
        kept = (before or reader.empty_context)[-(LENGTH + 1 - len(ids)) :]
        total, greedy = plainly(kept, ids)
        assert found[0] == pytest.approx(total, abs=3e-4) and found[1] == greedy


def test_a_continuation_that_is_longer_than_the_model(model):
    with pytest.raises(InputError, match=r"a continuation has \d+ tokens, and the model reads 48"):
        model.loglikelihood(requests("loglikelihood", ("is", " " + TEXT)))


def test_whole_texts(model):
    [found] = model.loglikelihood_rolling(requests("loglikelihood_rolling", ("the sky",)))
    reader = Reader.of(pretrained())
    assert found == pytest.approx(
        plainly(reader.empty_context, reader.encode("the sky"))[0], abs=3e-4
    )


def test_texts_up_to_a_stop(model):
    settings = {"until": ["\n\n"], "max_gen_toks": 5, "do_sample": False, "temperature": 0.0}
    [whole] = model.generate_until(requests("generate_until", ("is the sky", settings)))
    stop = {**settings, "until": whole[1:3]}
    arguments = [("is the sky", stop), ("is the sky", settings), (TEXT, settings)]
    cut, again, long = model.generate_until(requests("generate_until", *arguments))
    assert (cut, again) == (whole.split(stop["until"])[0], whole) and isinstance(long, str)
    for wrong in ({"do_sample": True}, {"best_of": 3}, {"max_gen_toks": LENGTH}):
        with pytest.raises(InputError, match="do_sample is|unknown settings|leaves no room"):
            model.generate_until(requests("generate_until", ("is", {**settings, **wrong})))


YAML = """
task: sky
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "is {{{{what}}}}? answer:"
doc_to_choice: ["yes", "no, no, yes", "maybe"]
doc_to_target: "{{{{label}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


def test_a_local_task_has_our_own_accuracy(model, tmp_path, monkeypatch):
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    examples = [
        {"what": what, "label": index % 3}
        for index, what in enumerate(["the sky", "red sea", "no sky", "the sea", "blue", "answer"])
    ]
    data, folder = tmp_path / "data.jsonl", tmp_path / "tasks"
    data.write_text("\n".join(map(json.dumps, examples)))
    folder.mkdir()
    (folder / "sky.yaml").write_text(YAML.format(path=data))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    results = lm_eval.simple_evaluate(
        model=model, tasks=["sky"], task_manager=manager, bootstrap_iters=0
    )
    assert results is not None
    task = Choice(
        name="sky", prompt="is {what}? answer:", candidates=("yes", "no, no, yes", "maybe")
    )
    [ours] = evaluate_prompts(pretrained(), task, examples, batch_size=4)
    assert results["results"]["sky"]["acc,none"] == pytest.approx(ours.metrics["accuracy_sum"])
    assert results["results"]["sky"]["acc_norm,none"] == pytest.approx(
        ours.metrics["accuracy_bytes"]
    )


@pytest.mark.parity
def test_the_answers_of_lm_evals_own_model(tmp_path):
    """The same GPT-2 read by both: likelihoods, whole texts and greedy texts."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from lm_eval.models.huggingface import HFLM

    from flaxformers_edu.interop import save_pretrained

    found = pretrained()
    save_pretrained(tmp_path / "gpt", found)
    theirs_model = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "gpt").eval()
    words = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "gpt" / "tokenizer.json"),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
    )
    with torch.no_grad():
        theirs = HFLM(pretrained=theirs_model, tokenizer=words, batch_size=1, device="cpu")
        ours = LMEvalModel(found, batch_size=4)
        pairs = requests("loglikelihood", *PAIRS)
        for one, other in zip(ours.loglikelihood(pairs), theirs.loglikelihood(pairs), strict=True):
            assert math.isclose(one[0], other[0], abs_tol=3e-4) and one[1] == other[1]
        texts = requests("loglikelihood_rolling", (TEXT,), ("yes",))
        assert ours.loglikelihood_rolling(texts) == pytest.approx(
            theirs.loglikelihood_rolling(texts), abs=2e-3
        )
        settings = {"until": ["zz"], "max_gen_toks": 6, "do_sample": False}
        asked = requests("generate_until", ("is the sky", settings), ("maybe", settings))
        assert ours.generate_until(asked) == theirs.generate_until(asked)
