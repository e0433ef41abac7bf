"""The numbers of the papers' tables."""

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.optim.recipes import lamb_for_bert, lars_for_resnet50, mixed_lamb_for_bert

TABLE = [  # batch, peak, warm-up ratio, steps: You et al. 2020, untuned LAMB for BERT
    (512, 5 / (2**3.0 * 1e3), 1 / 320, 1_000_000),
    (1024, 5 / (2**2.5 * 1e3), 1 / 160, 500_000),
    (2048, 5 / (2**2.0 * 1e3), 1 / 80, 250_000),
    (4096, 5 / (2**1.5 * 1e3), 1 / 40, 125_000),
    (8192, 5 / (2**1.0 * 1e3), 1 / 20, 62_500),
    (16_384, 5 / (2**0.5 * 1e3), 1 / 10, 31_250),
    (32_768, 5 / (2**0.0 * 1e3), 1 / 5, 15_625),
]


@pytest.mark.parametrize(("batch", "peak", "ratio", "steps"), TABLE)
def test_lamb_for_bert(batch, peak, ratio, steps):
    stage = lamb_for_bert(batch)
    assert (stage.batch, stage.steps) == (batch, steps)
    assert stage.schedule.peak == pytest.approx(peak)
    assert stage.schedule.warmup_steps / stage.steps == pytest.approx(ratio)
    rate = stage.schedule.build(stage.steps)
    assert float(rate(stage.schedule.warmup_steps - 1)) == pytest.approx(peak)
    assert float(rate(stage.steps - 1)) == pytest.approx(0.0, abs=1e-9)
    optimizer = stage.optimizer
    assert (optimizer.name, optimizer.eps, optimizer.weight_decay) == ("lamb", 1e-6, 0.01)


def test_the_76_minutes():
    first, second = mixed_lamb_for_bert()
    assert first.steps + second.steps == 8599
    assert (first.batch, first.sequence_length) == (65_536, 128)
    assert (second.batch, second.sequence_length) == (32_768, 512)
    # Nine tenths of the sequences come first, and both together are those of the baseline.
    examples = first.batch * first.steps + second.batch * second.steps
    assert first.batch * first.steps / examples == pytest.approx(0.9, abs=1e-3)
    assert examples == pytest.approx(512 * 1_000_000, rel=1e-3)
    rate = second.schedule.build(second.steps)
    assert float(rate(0)) == pytest.approx(4e-3 / 200)  # warms up again


@pytest.mark.parametrize(
    ("batch", "peak", "epochs"), [(8192, 10.0, 5), (16_384, 25.0, 5), (32_768, 32.0, 14)]
)
def test_lars_for_resnet50(batch, peak, epochs):
    stage = lars_for_resnet50(batch)
    rate = stage.schedule.build(stage.steps)
    per_epoch = 1_281_167 / batch
    assert stage.steps == int(90 * per_epoch)
    assert float(rate(int(epochs * per_epoch) - 1)) == pytest.approx(peak)
    # Half way down, a quarter of the peak: the power is 2.
    middle = (stage.schedule.warmup_steps + stage.steps) / 2
    assert float(rate(middle - 1)) == pytest.approx(peak / 4, rel=1e-3)


def test_out_of_the_published_range():
    with pytest.raises(InputError, match="batch is 65536; the recipe of LAMB holds from 512"):
        lamb_for_bert(65_536)
    with pytest.raises(InputError, match="batch is 256; the recipe of LARS holds from 2048"):
        lars_for_resnet50(256)
