import pytest

from train.units import in_bytes, in_flops


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1536, "1.5 KiB"),
        (1023 * 2**20, "1,023 MiB"),
        (95 * 2**30, "95 GiB"),
        (2**60, "1,024 PiB"),
    ],
)
def test_bytes(number, text):
    assert in_bytes(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(12.0, "12 FLOP/s"), (1e9, "1 GFLOP/s"), (9.89e14, "989 TFLOP/s"), (1.234e18, "1.23 EFLOP/s")],
)
def test_flops(number, text):
    assert in_flops(number) == text
