"""The command `generate`: lines in, texts out; or prompts in, what may follow them out."""

import dataclasses
import sys
from pathlib import Path

import jax

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from train.commands.complete import complete
from train.commands.evaluate import decoding_of
from train.commands.fill import fill
from train.commands.language import check_continues
from train.evaluate import Evaluator, encode_split
from train.prepare import CONFIG, Run, is_run, open_finished
from train.restore import load_params
from train.summary import attention_sample


@dataclasses.dataclass(frozen=True)
class Generate:
    """Writes: translations of lines, or what follows a prompt; which of them, DIR has learnt.

    Lines come from a file or from standard input. A translation of an empty line is one, too. A
    language model, of a run or in Hugging Face's format, goes on from --prompt, or from each line:
    the likeliest way, or drawn, where --temperature, --top-k, --top-p, --min-p, --num-samples or
    --seed is given. One text is shown as it comes; several are JSON objects, one a line.
    With --fill it says what could stand in place of a mask.
    """

    prompt: str | None = None
    """A text for a language model to go on from."""

    input: Path | None = None
    """File with a sentence, or a prompt, a line; standard input when not given."""
    output: Path | None = None
    """File for the predictions; standard output when not given."""
    checkpoint: str = "best"
    """best, last, or a step."""
    num_beams: int | None = None
    """Beam width; 1 is greedy. The experiment's when not given."""
    length_penalty: float | None = None
    """Exponent on the length: above 0 favours longer ones. The experiment's when not given."""
    max_new_tokens: int | None = None
    """Longest prediction. The experiment's when not given; of a language model 128, or the room."""
    min_new_tokens: int = 0
    """The end of a text comes after so many, not before."""
    temperature: float | None = None
    """Draw, with logits over this: below 1 what is likely grows likelier."""
    top_p: float | None = None
    """Draw among the fewest pieces that have this probability together."""
    min_p: float | None = None
    """Draw among pieces at least so likely, relative to the likeliest."""
    num_samples: int = 1
    """Texts for each prompt: samples, or with --num-beams the best so many."""
    seed: int | None = None
    """Of the draw; 0 when not given."""
    repetition_penalty: float = 1.0
    """Above 1: pieces that were there before grow less likely."""
    no_repeat_ngram_size: int = 0
    """Above 0: so many pieces in a row do not come twice."""
    stop: tuple[str, ...] = ()
    r"""Strings that end a text, and are no part of it; \n and \t may be written so."""
    attention: Path | None = None
    """PNG for the cross-attention of the first sentence."""
    fill: str | None = None
    """A text with [MASK] in it, to be filled in by a masked language model."""
    top_k: int | None = None
    """Draw among the k likeliest pieces. With --fill: how many are told; 5 when not given."""


def generate(workdir: Path, options: Generate) -> int:
    """The command: whichever of the three the options and the folder ask for."""
    if options.fill is not None:
        top_k = 5 if options.top_k is None else options.top_k
        return fill(workdir, options.fill, top_k=top_k, checkpoint=options.checkpoint)
    if is_run(workdir) or not (workdir / CONFIG).is_file():
        run = open_finished(workdir)
        if run.experiment.objective.generates:
            return translate(run, options)
        check_continues(run)  # before standard input is waited for
    if options.prompt is not None:
        return complete(workdir, [options.prompt], options)
    name = "standard input" if options.input is None else str(options.input)
    prompts = read_lines(options.input, name)
    if not prompts:
        raise InputError(f"{name} is empty: give a prompt a line")
    return complete(workdir, prompts, options)


def translate(run: Run, options: Generate) -> int:
    """Writes one prediction for each line, in their order."""
    if options.prompt is not None:
        raise InputError(f"{run.workdir} translates: give its lines by --input, not by --prompt")
    decoding = decoding_of(run, options)
    name = "standard input" if options.input is None else str(options.input)
    lines = read_lines(options.input, name)
    pairs = [{"source": line, "target": ""} for line in lines if line.strip()]
    if not pairs:
        raise InputError(f"{name} is empty: give a sentence a line")
    check_lengths(run, lines, name)
    split = encode_split(run, pairs)
    mesh = MeshShape().build(jax.devices()[:1])
    params, _ = load_params(run, options.checkpoint, mesh)
    predictions = Evaluator(run, mesh).predict(params, split, decoding)
    sample = None
    if options.attention is not None:
        sample = attention_sample(run, params, pairs[0]["source"], predictions[0])
        if not len(sample.weights_LHTS):
            raise InputError(f"{run.workdir} has no attention to draw: leave --attention away")
    waiting = iter(predictions)
    text = "".join((next(waiting) if line.strip() else "") + "\n" for line in lines)
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text, encoding="utf-8")
    if options.attention is not None and sample is not None:
        from train.report import attention_heatmap

        attention_heatmap(
            options.attention, sample.weights_LHTS[-1], sample.target_tokens, sample.source_tokens
        )
    return 0


def read_lines(path: Path | None, name: str) -> list[str]:
    r"""Lines of a file, or of standard input for None; they end at "\n" or "\r\n" only.

    Raises:
        InputError: a missing file, or invalid UTF-8.
    """
    try:
        data = sys.stdin.buffer.read() if path is None else path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{name}, line {number}, is not valid UTF-8: {error.reason}") from error
    if not lines[-1]:
        del lines[-1]
    return [line.removesuffix("\r") for line in lines]


def check_lengths(run: Run, lines: list[str], name: str) -> None:
    """Refuses a line that the model was not trained to read, rather than translate a part of it.

    Raises:
        InputError: naming the line.
    """
    limit = run.experiment.batching.max_source_length
    for number, line in enumerate(lines, start=1):
        length = len(run.tokenizer.encode(line))
        if length > limit:
            raise InputError(
                f"{name}, line {number}, has {length} tokens, more than "
                f"batching.max_source_length={limit}: split it into sentences"
            )
