"""Which columns of well-known benchmarks are which fields, by their names in TFDS.

The Hugging Face hub has the same columns under the same names of task (glue with the
configuration sst2 is glue/sst2).
"""

_TEXT = ("text=sentence", "label=label")
_PAIR = ("text=sentence1", "text_pair=sentence2", "label=label")
_INFERENCE = ("text=premise", "text_pair=hypothesis", "label=label")
_SPANS = (
    *("id=id", "question=question", "context=context"),
    *("answers=answers/text", "answer_starts=answers/answer_start"),
)

COLUMNS = {
    "glue/cola": _TEXT,
    "glue/sst2": _TEXT,
    "glue/mrpc": _PAIR,
    "glue/qqp": ("text=question1", "text_pair=question2", "label=label"),
    "glue/stsb": _PAIR,
    "glue/mnli": _INFERENCE,
    "glue/mnli_matched": _INFERENCE,
    "glue/mnli_mismatched": _INFERENCE,
    "glue/qnli": ("text=question", "text_pair=sentence", "label=label"),
    "glue/rte": _PAIR,
    "glue/wnli": _PAIR,
    "glue/ax": _INFERENCE,
    "super_glue/boolq": ("text=question", "text_pair=passage", "label=label"),
    "super_glue/cb": _INFERENCE,
    "super_glue/copa": ("question=premise+question", "choices=choice1,choice2", "label=label"),
    "super_glue/multirc": ("text=paragraph", "text_pair=question+answer", "label=label"),
    "super_glue/rte": _INFERENCE,
    "super_glue/wic": ("text=word+sentence1", "text_pair=sentence2", "label=label"),
    "super_glue/wsc.fixed": ("text=text", "text_pair=span1_text+span2_text", "label=label"),
    "super_glue/axb": _PAIR,
    "super_glue/axg": _INFERENCE,
    "squad": _SPANS,
    "squad/v1.1": _SPANS,
    "squad/v2.0": _SPANS,
    "squad_v2": _SPANS,
}
"""Name -> fields. ReCoRD is not among them: it is no task of one text, pair or choice."""


def known_columns(name: str) -> tuple[str, ...]:
    """The fields of a benchmark, its version left out of account; none where it is not known."""
    return COLUMNS.get(name.partition(":")[0], ())
