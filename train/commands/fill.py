"""`generate --fill`: the likeliest pieces in place of a mask.

Dims: B one text, K masks in it, V vocabulary, N pieces that are told.
"""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from flaxformers_edu import interop
from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from flaxformers_edu.text.tokenizer import Tokenizer
from train.prepare import CONFIG, is_run, open_finished
from train.restore import load_params
from train.state import abstract_params

MASK = "[MASK]"
"""What a user may write for a mask, whatever the model's own is."""
TASK = "masked_lm"

Guess = tuple[str, float]


def fill(folder: Path, text: str, *, top_k: int, checkpoint: str = "best") -> int:
    """The command: for each mask of the text its likeliest pieces, with their probabilities."""
    if top_k < 1:
        raise InputError(f"--top-k is {top_k}; it must be at least 1")
    model, params, tokenizer = masked_model(folder, checkpoint)
    for number, guesses in enumerate(guess(model, params, tokenizer, text, top_k), start=1):
        if number > 1:
            print()
        for piece, probability in guesses:
            print(f"{probability:.4f}  {piece}")
    return 0


def masked_model(folder: Path, checkpoint: str) -> tuple[nn.Module, Any, Tokenizer]:
    """A model that fills in masks, from a run's folder or one of Hugging Face.

    Raises:
        InputError: the folder is neither, or its model has not learnt it.
    """
    if is_run(folder):
        run = open_finished(folder)
        config = getattr(run.experiment.model, "student", run.experiment.model)
        params, _ = load_params(run, checkpoint, MeshShape().build(jax.devices()[:1]))
        params = params.get("student", params)
        if "generator" in params:  # ELECTRA's, which shares the discriminator's embeddings
            embeddings = params["discriminator"]["embeddings"]
            config, params = config.generator(), {**params["generator"], "embeddings": embeddings}
        if "mlm_head" not in params:
            raise InputError(f"{folder} was not trained to fill in masks")
        model = config.build(TASK)
        wanted = nn.meta.unbox(abstract_params(model))
        return model, {name: params[name] for name in wanted}, run.tokenizer
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is not the folder of a run: it has no {CONFIG}")
    found = interop.from_pretrained(folder, TASK)
    if found.initialised:
        raise InputError(f"{folder} has no weights for {', '.join(found.initialised)}")
    if found.tokenizer is None:
        raise InputError(f"{folder} has no tokeniser")
    return found.model, found.params, found.tokenizer


def guess(
    model: nn.Module, params: Any, tokenizer: Tokenizer, text: str, top_k: int
) -> list[list[Guess]]:
    """The likeliest pieces for each mask of a text, best first, with their probabilities.

    Raises:
        InputError: a text without a mask, or longer than the model can read.
    """
    mask_id = tokenizer.mask_token_id
    if mask_id is None:
        raise InputError("the tokeniser has no token for a mask")
    own = tokenizer.tokens([mask_id])[0]
    pieces = tokenizer.pieces(text.replace(MASK, own)).ids
    ids, types = tokenizer.join(pieces)
    places = [place for place, piece in enumerate(ids) if piece == mask_id]
    config: Any = model.config
    if not places:
        raise InputError(f"--fill {text!r} has no {MASK} to be filled in")
    if len(ids) > config.max_length:
        raise InputError(f"--fill has {len(ids)} tokens, more than the model's {config.max_length}")
    inputs = {"input_ids": ids, "attention_mask": [1] * len(ids), "predict_positions": places}
    if config.num_token_types > 1:
        inputs["token_type_ids"] = types
    batch = {name: jnp.asarray([values], jnp.int32) for name, values in inputs.items()}
    output: Any = jax.jit(lambda params, batch: model.apply({"params": params}, **batch))(
        params, batch
    )
    probabilities_KV = np.asarray(jax.nn.softmax(output.logits[0].astype(jnp.float32)))
    best_KN = np.argsort(-probabilities_KV[:, : tokenizer.vocab_size], axis=-1)[:, :top_k]
    return [
        list(zip(tokenizer.tokens(best_N), probabilities_V[best_N].tolist(), strict=True))
        for best_N, probabilities_V in zip(best_KN, probabilities_KV, strict=True)
    ]
