"""Numbers for people: 1.5 GiB, 989 TFLOP/s."""


def in_bytes(number: float) -> str:
    """1536 -> "1.5 KiB"."""
    return _scaled(number, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def in_flops(number: float) -> str:
    """9.89e14 -> "989 TFLOP/s"."""
    prefixes = ("", "k", "M", "G", "T", "P", "E")
    return _scaled(number, 1000, tuple(f"{prefix}FLOP/s" for prefix in prefixes))


def _scaled(number: float, base: int, units: tuple[str, ...]) -> str:
    *smaller, largest = units
    for unit in smaller:
        if number < base:
            return f"{_three_digits(number)} {unit}"
        number /= base
    return f"{_three_digits(number)} {largest}"


def _three_digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
