"""The weights of the decoders, as `tables.py` has the encoders'."""

from flaxformers_edu.interop.family import Family, Rows, within
from flaxformers_edu.interop.forms import (
    CONV1D,
    CONV1D_FROM_HEADS,
    FROM_HEADS,
    LINEAR,
    NORM,
    TABLE,
    conv1d_part,
)

_OUTPUT: Rows = (("output", "lm_head", LINEAR),)
_LABELS: Rows = (("classifier", "score", LINEAR),)
_HEADS = {
    "causal_lm": _OUTPUT,
    "sequence_classification": _LABELS,
    "multiple_choice": (("classifier", "multiple_choice_head.summary", LINEAR), *_OUTPUT),
    "token_classification": (("classifier", "classifier", LINEAR),),
    "question_answering": (("span_head", "qa_outputs", LINEAR),),
}
"""The same in most families; the output layer only where it is not the table of tokens."""
_TIED = ("base", "causal_lm", "multiple_choice")

_GPT_LAYER: Rows = (
    ("attention_norm", "ln_1", NORM),
    ("attention/query", "attn.c_attn", conv1d_part(0, 3)),
    ("attention/key", "attn.c_attn", conv1d_part(1, 3)),
    ("attention/value", "attn.c_attn", conv1d_part(2, 3)),
    ("attention/out", "attn.c_proj", CONV1D_FROM_HEADS),
    ("mlp_norm", "ln_2", NORM),
    ("mlp/up", "mlp.c_fc", CONV1D),
    ("mlp/down", "mlp.c_proj", CONV1D),
)

GPT1 = Family(
    name="openai-gpt",
    prefix="transformer",
    body=(
        ("embedding", "tokens_embed", TABLE),
        ("positions", "positions_embed", TABLE),
        *within("decoder/layers/*", "h.*", _GPT_LAYER),
    ),
    heads=_HEADS,
    classes={
        "base": "OpenAIGPTModel",
        "causal_lm": "OpenAIGPTLMHeadModel",
        "sequence_classification": "OpenAIGPTForSequenceClassification",
        "multiple_choice": "OpenAIGPTDoubleHeadsModel",
    },
    ties=(("tokens_embed.weight", "lm_head.weight"),),
    tied_tasks=_TIED,
    saves_other=("multiple_choice",),
)

GPT2 = Family(
    name="gpt2",
    prefix="transformer",
    body=(
        ("embedding", "wte", TABLE),
        ("positions", "wpe", TABLE),
        *within("decoder/layers/*", "h.*", _GPT_LAYER),
        ("norm", "ln_f", NORM),
    ),
    heads=_HEADS,
    classes={
        "base": "GPT2Model",
        "causal_lm": "GPT2LMHeadModel",
        "sequence_classification": "GPT2ForSequenceClassification",
        "multiple_choice": "GPT2DoubleHeadsModel",
        "token_classification": "GPT2ForTokenClassification",
        "question_answering": "GPT2ForQuestionAnswering",
    },
    ties=(("wte.weight", "lm_head.weight"),),
    tied_tasks=_TIED,
)

_GPT_NEO_LAYER: Rows = (
    ("attention_norm", "ln_1", NORM),
    ("attention/query", "attn.attention.q_proj", LINEAR),
    ("attention/key", "attn.attention.k_proj", LINEAR),
    ("attention/value", "attn.attention.v_proj", LINEAR),
    ("attention/out", "attn.attention.out_proj", FROM_HEADS),
    ("mlp_norm", "ln_2", NORM),
    ("mlp/up", "mlp.c_fc", LINEAR),
    ("mlp/down", "mlp.c_proj", LINEAR),
)

GPT_NEO = Family(
    name="gpt_neo",
    prefix="transformer",
    body=(
        ("embedding", "wte", TABLE),
        ("positions", "wpe", TABLE),
        *within("decoder/layers/*", "h.*", _GPT_NEO_LAYER),
        ("norm", "ln_f", NORM),
    ),
    heads=_HEADS,
    classes={
        "base": "GPTNeoModel",
        "causal_lm": "GPTNeoForCausalLM",
        "sequence_classification": "GPTNeoForSequenceClassification",
        "token_classification": "GPTNeoForTokenClassification",
        "question_answering": "GPTNeoForQuestionAnswering",
    },
    ties=(("wte.weight", "lm_head.weight"),),
    tied_tasks=_TIED,
)

_LLAMA_LAYER: Rows = (
    ("attention_norm", "input_layernorm", NORM),
    ("attention/query", "self_attn.q_proj", LINEAR),
    ("attention/key", "self_attn.k_proj", LINEAR),
    ("attention/value", "self_attn.v_proj", LINEAR),
    ("attention/out", "self_attn.o_proj", FROM_HEADS),
    ("mlp_norm", "post_attention_layernorm", NORM),
    ("mlp/gate", "mlp.gate_proj", LINEAR),
    ("mlp/up", "mlp.up_proj", LINEAR),
    ("mlp/down", "mlp.down_proj", LINEAR),
)

LLAMA = Family(
    name="llama",
    prefix="model",
    body=(
        ("embedding", "embed_tokens", TABLE),
        *within("decoder/layers/*", "layers.*", _LLAMA_LAYER),
        ("norm", "norm", NORM),
    ),
    heads=_HEADS | {"token_classification": _LABELS},
    classes={
        "base": "LlamaModel",
        "causal_lm": "LlamaForCausalLM",
        "sequence_classification": "LlamaForSequenceClassification",
        "token_classification": "LlamaForTokenClassification",
        "question_answering": "LlamaForQuestionAnswering",
    },
    ties=(("embed_tokens.weight", "lm_head.weight"),),
    tied_tasks=_TIED,
    other_prefixes={"question_answering": "transformer"},
)

DECODERS = (GPT1, GPT2, GPT_NEO, LLAMA)
