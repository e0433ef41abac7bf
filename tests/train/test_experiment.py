import pytest

from flaxformers_edu.errors import InputError
from tests.train.tiny import config
from train.experiment import Decoding, TokenizerSpec
from train.pipeline import Batching


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(name, 0) for name in ("steps", "accumulation", "log_every", "eval_every", "keep_last")],
        ("checkpoint_every", -1),
        ("seed", -1),
        ("eval_examples", -1),
        ("ema_decay", 1.0),
        ("ema_decay", -0.1),
    ],
)
def test_bad_values_name_the_field(field, value):
    with pytest.raises(InputError, match=f"^{field} is {value}; it must be"):
        config(**{field: value})


def test_bad_parts_name_the_field():
    with pytest.raises(InputError, match=r"tokenizer\.folder"):
        TokenizerSpec(kind="folder")
    with pytest.raises(InputError, match=r"tokenizer\.kind 'bep'; did you mean 'bpe'"):
        TokenizerSpec(kind="bep")
    with pytest.raises(InputError, match=r"decoding\.num_beams is 0"):
        Decoding(num_beams=0)
    with pytest.raises(InputError, match=r"decoding\.length_penalty is nan"):
        Decoding(length_penalty=float("nan"))


def test_what_parts_of_a_batch_are_needed_for():
    with pytest.raises(InputError, match="noise_scale compares parts .* accumulation is 1"):
        config(noise_scale=True)
    ramp = Batching(2048, 64, 64, packing=True, ramp_start_tokens=512, ramp_steps=4)
    assert config(batching=ramp, accumulation=8).accumulation == 8
    with pytest.raises(InputError, match="accumulation is 3; it must divide the growth .* 4"):
        config(batching=ramp, accumulation=3)
