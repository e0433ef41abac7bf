"""Texts that go on: the pipeline says what `generate_text` says."""

import pytest

from flaxformers_edu import generate_text, pipeline
from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import from_pretrained
from tests.tiny_gpt import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("models") / "gpt")


def test_prompts_go_on(folder):
    found = from_pretrained(folder, "causal_lm")
    write_on = pipeline("text-generation", folder, batch_size=2)
    settings = {"max_new_tokens": 5, "no_repeat_ngram_size": 2}
    prompts = ["the cat", "a dog ran"]
    expected = generate_text(found.model, found.params, found.tokenizer, prompts, **settings)
    answers = write_on(prompts, **settings)
    assert answers == [
        [{"generated_text": prompt + one.text}]
        for prompt, (one,) in zip(prompts, expected, strict=True)
    ]
    alone = write_on(prompts[1], return_full_text=False, **settings)
    assert alone == [{"generated_text": expected[1][0].text}]
    drawn = write_on(prompts, do_sample=True, num_return_sequences=2, **settings)
    assert [len(several) for several in drawn] == [2, 2]
    with pytest.raises(InputError, match="prompt 1 has .* more than the model's 24 positions"):
        write_on("the cat " * 9)
