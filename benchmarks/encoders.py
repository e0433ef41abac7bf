"""The three measurements of encoders, one after the other: forward, training step, input pipeline.

python -m benchmarks.encoders
"""

from benchmarks import encoder_forward, encoder_step, input_pipeline


def main() -> None:
    """Writes the results of all three; options as each of them has."""
    for benchmark in (encoder_forward, encoder_step, input_pipeline):
        benchmark.main()


if __name__ == "__main__":
    main()
