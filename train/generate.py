"""The command `generate`: lines in, predictions out."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from train.evaluate import Evaluator, decoding_of, evaluation_batching, load_params
from train.prepare import open_finished
from train.summary import attention_sample


@dataclasses.dataclass(frozen=True)
class Generate:
    """Translates lines from a file or from standard input."""

    input: Path | None = None
    """File with a sentence a line; standard input when not given."""
    output: Path | None = None
    """File for the predictions; standard output when not given."""
    checkpoint: str = "best"
    """best, last, or a step."""
    num_beams: int | None = None
    """Beam width; 1 is greedy. The experiment's when not given."""
    length_penalty: float | None = None
    """Exponent on the length: above 0 favours longer ones. The experiment's when not given."""
    max_new_tokens: int | None = None
    """Longest prediction. The experiment's when not given."""
    attention: Path | None = None
    """PNG for the cross-attention of the first line."""


def generate(workdir: Path, options: Generate) -> int:
    """Writes one prediction a line."""
    run = open_finished(workdir)
    decoding = decoding_of(run, options)
    if decoding.num_beams < 1:
        raise InputError(f"--num-beams is {decoding.num_beams}; it must be at least 1")
    lines = read_lines(options.input)
    pairs = [{"source": line, "target": ""} for line in lines]
    examples = run.encode(pairs, evaluation_batching(run.experiment.batching))
    mesh = MeshShape().build(jax.devices()[:1])
    params, _ = load_params(run, options.checkpoint, mesh)
    found = Evaluator(run, mesh, examples).predict(params, decoding)
    text = "\n".join(found) + "\n"
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text, encoding="utf-8")
    if options.attention is not None:
        from train.report import attention_heatmap

        sample = attention_sample(run, params, lines[0], found[0])
        attention_heatmap(
            options.attention,
            sample.weights_LHTS[-1],
            sample.target_tokens,
            sample.source_tokens,
        )
    return 0


def read_lines(path: Path | None) -> Sequence[str]:
    """Lines of a file or of standard input.

    Raises:
        InputError: a missing file, invalid UTF-8, no or an empty line.
    """
    name = "standard input" if path is None else str(path)
    try:
        data = sys.stdin.buffer.read() if path is None else path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise InputError(f"{name}, line {number}, is not valid UTF-8: {error.reason}") from error
    if not lines:
        raise InputError(f"{name} is empty: give a sentence a line")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise InputError(f"{name}, line {number}, is empty: give a sentence a line")
    return lines
