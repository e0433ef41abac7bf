"""The weights of the encoders: what a module is called here, what there, and its form."""

from flaxformers_edu.interop.decoder_tables import DECODERS
from flaxformers_edu.interop.family import Family, Rows, within
from flaxformers_edu.interop.forms import BIAS, FROM_HEADS, LINEAR, NORM, TABLE


def _classes(name: str, **others: str) -> dict[str, str]:
    """Hugging Face's usual names, and those of the tasks that only some families have."""
    return {
        "base": f"{name}Model",
        "masked_lm": f"{name}ForMaskedLM",
        "sequence_classification": f"{name}ForSequenceClassification",
        "token_classification": f"{name}ForTokenClassification",
        "question_answering": f"{name}ForQuestionAnswering",
        "multiple_choice": f"{name}ForMultipleChoice",
        **others,
    }


_CLASSIFIER: Rows = (("classifier", "classifier", LINEAR),)
_SPANS: Rows = (("span_head", "qa_outputs", LINEAR),)
_CLASSIFIERS = {
    "sequence_classification": _CLASSIFIER,
    "token_classification": _CLASSIFIER,
    "question_answering": _SPANS,
    "multiple_choice": _CLASSIFIER,
}
"""The heads of a single layer."""

_EMBEDDINGS: Rows = (
    ("embeddings/token", "embeddings.word_embeddings", TABLE),
    ("embeddings/positions", "embeddings.position_embeddings", TABLE),
    ("embeddings/token_types", "embeddings.token_type_embeddings", TABLE),
    ("embeddings/norm", "embeddings.LayerNorm", NORM),
)

_BERT_LAYER: Rows = (
    ("attention/query", "attention.self.query", LINEAR),
    ("attention/key", "attention.self.key", LINEAR),
    ("attention/value", "attention.self.value", LINEAR),
    ("attention/out", "attention.output.dense", FROM_HEADS),
    ("attention_norm", "attention.output.LayerNorm", NORM),
    ("mlp/up", "intermediate.dense", LINEAR),
    ("mlp/down", "output.dense", LINEAR),
    ("mlp_norm", "output.LayerNorm", NORM),
)

_BERT_BODY: Rows = (
    *_EMBEDDINGS,
    *within("encoder/layers/*", "encoder.layer.*", _BERT_LAYER),
    ("pooler", "pooler.dense", LINEAR),
)

_BERT_MLM: Rows = (
    ("mlm_head/transform", "cls.predictions.transform.dense", LINEAR),
    ("mlm_head/norm", "cls.predictions.transform.LayerNorm", NORM),
    ("mlm_head", "cls.predictions", BIAS),
)

BERT = Family(
    name="bert",
    prefix="bert",
    body=_BERT_BODY,
    heads={
        "masked_lm": _BERT_MLM,
        "pretraining": (*_BERT_MLM, ("sentence_head", "cls.seq_relationship", LINEAR)),
        **_CLASSIFIERS,
    },
    classes=_classes("Bert", pretraining="BertForPreTraining"),
    ties=(
        ("embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
        ("cls.predictions.bias", "cls.predictions.decoder.bias"),
    ),
)

ROBERTA = Family(
    name="roberta",
    prefix="roberta",
    body=_BERT_BODY,
    heads={
        **_CLASSIFIERS,
        "masked_lm": (
            ("mlm_head/transform", "lm_head.dense", LINEAR),
            ("mlm_head/norm", "lm_head.layer_norm", NORM),
            ("mlm_head", "lm_head", BIAS),
        ),
        "sequence_classification": (
            ("classifier/dense", "classifier.dense", LINEAR),
            ("classifier/out", "classifier.out_proj", LINEAR),
        ),
    },
    classes=_classes("Roberta"),
    ties=(
        ("embeddings.word_embeddings.weight", "lm_head.decoder.weight"),
        ("lm_head.bias", "lm_head.decoder.bias"),
    ),
)

_ELECTRA_MLM: Rows = (
    ("mlm_head/transform", "generator_predictions.dense", LINEAR),
    ("mlm_head/norm", "generator_predictions.LayerNorm", NORM),
    ("mlm_head", "generator_lm_head", BIAS),
)

ELECTRA = Family(
    name="electra",
    prefix="electra",
    body=(
        *_EMBEDDINGS,
        ("embedding_projection", "embeddings_project", LINEAR),
        *within("encoder/layers/*", "encoder.layer.*", _BERT_LAYER),
    ),
    heads={
        **_CLASSIFIERS,
        "masked_lm": _ELECTRA_MLM,
        "pretraining": (
            ("discriminator_head/dense", "discriminator_predictions.dense", LINEAR),
            ("discriminator_head/out", "discriminator_predictions.dense_prediction", LINEAR),
        ),
        "sequence_classification": (
            ("classifier/dense", "classifier.dense", LINEAR),
            ("classifier/out", "classifier.out_proj", LINEAR),
        ),
        "multiple_choice": (
            ("classifier/dense", "sequence_summary.summary", LINEAR),
            ("classifier/out", "classifier", LINEAR),
        ),
    },
    classes=_classes("Electra", pretraining="ElectraForPreTraining"),
    ties=(("embeddings.word_embeddings.weight", "generator_lm_head.weight"),),
    tied_tasks=("masked_lm",),
)

_ALBERT_LAYER: Rows = (
    ("attention/query", "attention.query", LINEAR),
    ("attention/key", "attention.key", LINEAR),
    ("attention/value", "attention.value", LINEAR),
    ("attention/out", "attention.dense", FROM_HEADS),
    ("attention_norm", "attention.LayerNorm", NORM),
    ("mlp/up", "ffn", LINEAR),
    ("mlp/down", "ffn_output", LINEAR),
    ("mlp_norm", "full_layer_layer_norm", NORM),
)

_ALBERT_MLM: Rows = (
    ("mlm_head/transform", "predictions.dense", LINEAR),
    ("mlm_head/norm", "predictions.LayerNorm", NORM),
    ("mlm_head", "predictions", BIAS),
)

ALBERT = Family(
    name="albert",
    prefix="albert",
    body=(
        *_EMBEDDINGS,
        ("embedding_projection", "encoder.embedding_hidden_mapping_in", LINEAR),
        *within("encoder/shared", "encoder.albert_layer_groups.0.albert_layers.0", _ALBERT_LAYER),
        *within("encoder/layers/*", "encoder.albert_layer_groups.*.albert_layers.*", _ALBERT_LAYER),
        ("pooler", "pooler", LINEAR),
    ),
    heads={
        **_CLASSIFIERS,
        "masked_lm": _ALBERT_MLM,
        "pretraining": (*_ALBERT_MLM, ("sentence_head", "sop_classifier.classifier", LINEAR)),
    },
    classes=_classes("Albert", pretraining="AlbertForPreTraining"),
    ties=(
        ("embeddings.word_embeddings.weight", "predictions.decoder.weight"),
        ("predictions.bias", "predictions.decoder.bias"),
    ),
)

_DISTILBERT_LAYER: Rows = (
    ("attention/query", "attention.q_lin", LINEAR),
    ("attention/key", "attention.k_lin", LINEAR),
    ("attention/value", "attention.v_lin", LINEAR),
    ("attention/out", "attention.out_lin", FROM_HEADS),
    ("attention_norm", "sa_layer_norm", NORM),
    ("mlp/up", "ffn.lin1", LINEAR),
    ("mlp/down", "ffn.lin2", LINEAR),
    ("mlp_norm", "output_layer_norm", NORM),
)

_DISTILBERT_CLASSIFIER: Rows = (
    ("classifier/dense", "pre_classifier", LINEAR),
    ("classifier/out", "classifier", LINEAR),
)

DISTILBERT = Family(
    name="distilbert",
    prefix="distilbert",
    body=(
        *_EMBEDDINGS,
        *within("encoder/layers/*", "transformer.layer.*", _DISTILBERT_LAYER),
    ),
    heads={
        **_CLASSIFIERS,
        "masked_lm": (
            ("mlm_head/transform", "vocab_transform", LINEAR),
            ("mlm_head/norm", "vocab_layer_norm", NORM),
            ("mlm_head", "vocab_projector", BIAS),
        ),
        "sequence_classification": _DISTILBERT_CLASSIFIER,
        "multiple_choice": _DISTILBERT_CLASSIFIER,
    },
    classes=_classes("DistilBert"),
    ties=(("embeddings.word_embeddings.weight", "vocab_projector.weight"),),
)

FAMILIES = {
    family.name: family for family in (BERT, ROBERTA, ALBERT, ELECTRA, DISTILBERT, *DECODERS)
}
"""By `model_type`."""
