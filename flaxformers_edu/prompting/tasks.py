"""What is asked of a language model, and how an answer is judged: tasks a user writes.

A task turns an example, a mapping of fields, into the text of a prompt. Its kinds say what is made
of the model: `Choice` compares candidate answers, `Cloze` looks for one answer, `Generation` lets
the model write, `RunningText` reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.prompting.templates import Template

Example = Mapping[str, Any]
Score = Literal["sum", "tokens", "bytes", "unconditional"]
"""How candidates are compared: the sum of their tokens' log-likelihoods; the sum over the number of
tokens, or of bytes; the sum less that of the candidate after `Choice.unconditional`."""
Metric = Literal["exact_match", "f1", "rouge", "bleu"]
METRICS: tuple[str, ...] = get_args(Metric)
SCORES: tuple[str, ...] = get_args(Score)


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """What all tasks that ask for an answer have."""

    name: str
    """What the task is called in tables."""
    prompt: str
    """Template of an example up to where its answer goes:
    "{premise}\\nQuestion: {hypothesis} True or False?\\nAnswer:"."""
    answer: str
    """Template of the right answer: in demonstrations, and what the model's is compared with."""
    between: str = " "
    """Between a prompt and its answer."""
    separator: str = "\n\n"
    """Between the demonstrations, and before the example."""
    description: str = ""
    """Once before everything, with a separator behind it; empty: none."""
    group: str = ""
    """A field whose value demonstrations share with the example; empty: any demonstration will do.
    """

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        for text in (self.prompt, self.answer):
            Template(text)

    def prompt_of(self, example: Example) -> str:
        """The example without its answer."""
        return Template(self.prompt).fill(example)

    def answer_of(self, example: Example) -> str:
        """The right answer."""
        return Template(self.answer).fill(example)

    def compose(self, example: Example, demonstrations: Sequence[Example] = ()) -> str:
        """The whole prompt: description, demonstrations with their answers, the example."""
        shown = [self.prompt_of(one) + self.between + self.answer_of(one) for one in demonstrations]
        beginning = [self.description] if self.description else []
        return self.separator.join([*beginning, *shown, self.prompt_of(example)])


@dataclass(frozen=True, kw_only=True)
class Choice(Prompted):
    """The likeliest of several candidates (Brown et al. 2020, section 2.4); scored by accuracy."""

    answer: str = "{label}"
    """Template of which candidate is right: its label, its number from 0, or its text."""
    candidates: tuple[str, ...] = ()
    """Templates of the candidates."""
    candidates_from: str = ""
    """Instead: the field of an example that holds its own candidates, a list of texts."""
    labels: tuple[str, ...] = ()
    """What the data call the candidates, in their order; empty: 0, 1, ..., or as they are."""
    unconditional: str = "Answer:"
    """The context by which the likelihood of a candidate alone is measured; empty: it is not."""
    score: Score = "sum"
    """By which of them `accuracy` goes; the others are told, too."""

    kind = "choice"

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.candidates:
            Template(text)
        if bool(self.candidates) == bool(self.candidates_from):
            raise InputError(f"task {self.name}: give either candidates or candidates_from")
        if self.labels and len(self.labels) != len(self.candidates):
            raise InputError(
                f"task {self.name} has {len(self.labels)} labels for {len(self.candidates)} "
                "candidates; give one each, or none"
            )
        if self.score not in SCORES:
            raise unknown_name("score", self.score, SCORES)
        if self.score == "unconditional" and not self.unconditional:
            raise InputError(f"task {self.name}: score 'unconditional' needs unconditional")

    def candidates_of(self, example: Example) -> list[str]:
        """The texts to be compared.

        Raises:
            InputError: fewer than two, or the field is not there or not a list of texts.
        """
        if not self.candidates_from:
            texts = [Template(text).fill(example) for text in self.candidates]
        elif self.candidates_from not in example:
            raise unknown_name("field of candidates", self.candidates_from, example)
        else:
            found = example[self.candidates_from]
            if isinstance(found, str) or not isinstance(found, Sequence):
                raise InputError(f"field {self.candidates_from} must be a list, not {found!r}")
            texts = [str(text) for text in found]
        if len(texts) < 2:
            raise InputError(f"there are {len(texts)} candidates; give at least 2")
        return texts

    def right_of(self, example: Example) -> int:
        """The number of the right candidate, from 0.

        Raises:
            InputError: what the example says names none of them.
        """
        said, texts = Template(self.answer).fill(example), self.candidates_of(example)
        for names in (self.labels, texts):
            if said in names:
                return list(names).index(said)
        if not self.labels and said.isdecimal() and int(said) < len(texts):
            return int(said)
        raise unknown_name("label", said, self.labels or (*map(str, range(len(texts))), *texts))

    def answer_of(self, example: Example) -> str:
        """The right candidate."""
        return self.candidates_of(example)[self.right_of(example)]


@dataclass(frozen=True, kw_only=True)
class Cloze(Prompted):
    """One answer, as in LAMBADA: `accuracy` counts those that greedy search would have written.

    `perplexity` is that of the answers' tokens.
    """

    kind = "cloze"


@dataclass(frozen=True, kw_only=True)
class Generation(Prompted):
    """A text that the model writes by greedy or beam search: a summary after "TL;DR:", say.

    Of the answer, white space around it does not count.
    """

    metrics: tuple[Metric, ...] = ("exact_match",)
    """exact_match, f1 (of words, as SQuAD counts them), rouge, bleu (sacrebleu's)."""
    stop: tuple[str, ...] = ("\n",)
    """What ends an answer, besides the model's end of a text; it is cut off."""
    max_new_tokens: int = 32
    """Longest answer, in tokens."""
    num_beams: int = 1
    """Beam width; 1 is greedy search."""
    length_penalty: float = 1.0
    """Exponent on the length in beam search (GPT-3: 4 beams and 0.6)."""

    kind = "generation"

    def __post_init__(self) -> None:
        super().__post_init__()
        for metric in self.metrics:
            if metric not in METRICS:
                raise unknown_name("metric", metric, METRICS)
        if not self.metrics:
            raise InputError(f"task {self.name}: metrics is empty; give some of {METRICS}")
        if "" in self.stop:
            raise InputError(f"task {self.name}: stop holds an empty text")


@dataclass(frozen=True, kw_only=True)
class RunningText:
    """Text that is only read: perplexity per token, word and byte, bits per byte."""

    name: str
    """What the task is called in tables."""
    text: str = "{text}"
    """Template of an example's text."""
    stride: int = 0
    """Tokens by which the window moves: the smaller, the more context a token has, at greater cost;
    0: as many as the model reads, each window but the first with one token of context."""

    kind: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        Template(self.text)
        if self.stride < 0:
            raise InputError(f"task {self.name}: stride is {self.stride}; it must be 0 or more")

    def text_of(self, example: Example) -> str:
        """The text that is read."""
        return Template(self.text).fill(example)


Task = Choice | Cloze | Generation | RunningText
KINDS: dict[str, type[Task]] = {
    kind.kind: kind for kind in (Choice, Cloze, Generation, RunningText)
}
"""By the name that a file gives them."""
