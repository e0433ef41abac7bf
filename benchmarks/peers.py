"""The same models twice: as this library has them, and as Hugging Face's `transformers` does.

An encoder-decoder (our Transformer, their Marian): post-norm, relu, sinusoidal positions, one tied
table of embeddings. An encoder: BERT, here and there. A decoder: GPT-2. All with dropout 0.1, in
float32.
"""

from typing import Any

import numpy as np

PAD, EOS = 0, 1


def transformer_config(shape: dict[str, Any], layout: str) -> Any:
    """Our config; `shape` has the config's own names, `layout` says how layers are kept."""
    import flaxformers_edu as ff

    return ff.models.TransformerConfig(
        **shape, layout=layout, pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD
    )


def marian_model(shape: dict[str, Any]) -> Any:
    """A MarianMTModel with random weights; its attention is sdpa, the default."""
    import torch
    from transformers import MarianConfig, MarianMTModel

    torch.manual_seed(0)
    sides = {
        f"{side}_{field}": shape[name]
        for side in ("encoder", "decoder")
        for field, name in [
            ("layers", "num_layers"),
            ("attention_heads", "num_heads"),
            ("ffn_dim", "intermediate_size"),
        ]
    }
    config = MarianConfig(
        **sides,
        vocab_size=shape["vocab_size"],
        d_model=shape["hidden_size"],
        activation_function="relu",
        dropout=0.1,
        scale_embedding=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
        forced_eos_token_id=None,
    )
    return MarianMTModel(config)


def bert_config(shape: dict[str, Any], layout: str) -> Any:
    """Our BertConfig; `shape` has the config's own names."""
    import flaxformers_edu as ff

    return ff.models.BertConfig(**shape, layout=layout, pad_token_id=PAD)


def hugging_face_bert(kind: str, shape: dict[str, Any], attention: str) -> Any:
    """A transformers.BertModel, or one with a head, with random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=shape["vocab_size"],
        hidden_size=shape["hidden_size"],
        num_hidden_layers=shape["num_layers"],
        num_attention_heads=shape["num_heads"],
        intermediate_size=shape["intermediate_size"],
        attn_implementation=attention,
        pad_token_id=PAD,
    )
    model = getattr(transformers, kind)(config)
    assert model.config._attn_implementation == attention
    return model


def gpt_config(shape: dict[str, Any], layout: str, *, max_length: int) -> Any:
    """Our GPTConfig; `shape` has the config's own names."""
    import flaxformers_edu as ff

    return ff.models.GPTConfig(
        **shape, layout=layout, max_length=max_length, pad_token_id=PAD, eos_token_id=EOS
    )


def hugging_face_gpt2(shape: dict[str, Any], attention: str, *, max_length: int) -> Any:
    """A transformers.GPT2LMHeadModel with random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=shape["vocab_size"],
        n_positions=max_length,
        n_embd=shape["hidden_size"],
        n_layer=shape["num_layers"],
        n_head=shape["num_heads"],
        n_inner=shape["intermediate_size"],
        attn_implementation=attention,
        bos_token_id=EOS,
        eos_token_id=EOS,
    )
    model = transformers.GPT2LMHeadModel(config)
    assert model.config._attn_implementation == attention
    return model


def sentences(batch: int, length: int, vocab_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask, int32 [batch, length]: random words, half to all of the length."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, vocab_size, (batch, length), dtype=np.int32)
    lengths = rng.integers(length // 2, length + 1, batch)
    mask = (np.arange(length) < lengths[:, None]).astype(np.int32)
    return np.where(mask, ids, PAD), mask
