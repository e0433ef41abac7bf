"""GPT-1's start, delimiter and extract tokens, added to the vocabulary of a tokeniser.

With them a text is laid out as `start text extract`, and two as `start text delimiter text extract`
(Radford et al. 2018, section 3.3 and figure 1): that becomes the tokeniser's own template, so that
whoever calls it gets the form that the model was fine-tuned with. The names are those of
openai/finetune-transformer-lm, train.py.
"""

import tokenizers
from tokenizers import AddedToken, processors

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.template import FIRST, SECOND, Template
from flaxformers_edu.text.tokenizer import Tokenizer

START, DELIMITER, EXTRACT = TASK_TOKENS = ("_start_", "_delimiter_", "_classify_")
CONTROL = 3  # SentencePiece's type of a piece that no text is read as


def check_task_tokens(tokenizer: Tokenizer) -> None:
    """Raises InputError for a tokeniser that does not lay texts out among these tokens."""
    if tuple(tokenizer.tokens(tokenizer.join([], [])[0])) != TASK_TOKENS:
        raise InputError(
            f"the tokeniser has no start, delimiter and extract tokens ({', '.join(TASK_TOKENS)}): "
            "set tokenizer.task_tokens"
        )


def template_with(start: int, delimiter: int, extract: int) -> Template:
    """The layout, by the ids of the three."""
    head, tail = ((start, 0), (FIRST, 0)), (extract, 0)
    return Template((*head, tail), (*head, (delimiter, 0), (SECOND, 0), tail))


def with_tokens_in_json(model: bytes) -> bytes:
    """A tokenizer.json with the three tokens behind all others, and with their template."""
    tokenizer = tokenizers.Tokenizer.from_buffer(model)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in TASK_TOKENS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {EXTRACT}",
        pair=f"{START} $A {DELIMITER} $B {EXTRACT}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in TASK_TOKENS],
    )
    return tokenizer.to_str().encode()


def with_tokens_in_sentencepiece(model: bytes) -> bytes:
    """A sentencepiece model with the three as control pieces behind all others.

    A protocol buffer with more entries of a repeated field is the old bytes and theirs: here field
    1 of the model, with the fields piece (1), score (2) and type (3) in each.
    """
    for token in TASK_TOKENS:
        name = token.encode()
        piece = bytes([0x0A, len(name), *name, 0x15, 0, 0, 0, 0, 0x18, CONTROL])
        model += bytes([0x0A, len(piece), *piece])
    return model
