"""A search that is looked at while it runs: its new tokens by and by, the same as `generate`'s.

Letters: B batch, N samples a batch row, M max new tokens, K tokens of one stretch.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from flaxformers_edu.decoding.loop import Search, Strategy, advance, begin
from flaxformers_edu.decoding.request import Request, prompt_of, start_cache, step_of
from flaxformers_edu.decoding.settings import Settings
from flaxformers_edu.errors import InputError, unknown_name


class Stream:
    """Iterating gives the new tokens, int32 [B * N, K], a stretch of at most `chunk` a time.

    Greedy search and sampling only: what beam search will say is open until its end. A row that
    has ended gives padding; `end` ends rows from outside, as when their text says so.
    Two programs are compiled, for the prompts and for a stretch.

    Args:
      model, params, input_ids, attention_mask, rng: as `generate` takes them.
      chunk: steps between looks; 1 shows each token at once, more cost less.
      **settings: fields of `Settings`.

    Raises:
      InputError: as `generate` does; and for beams, or a chunk below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        params: Any,
        input_ids: Any,
        attention_mask: Any = None,
        *,
        chunk: int = 8,
        rng: Any = None,
        **settings: Any,
    ) -> None:
        known = [field.name for field in dataclasses.fields(Settings)]
        for name in settings:
            if name not in known:
                raise unknown_name("setting", name, known)
        if chunk < 1:
            raise InputError(f"chunk is {chunk}; it must be at least 1")
        asked = Request.of(model, input_ids, attention_mask, Settings(**settings), rng)
        if settings.get("num_beams", 1) > 1:
            raise InputError(
                f"num_beams is {settings['num_beams']}; what a beam search says is open until its "
                "end: to look at tokens as they come, leave it at 1"
            )
        self._chunk, self._asked = chunk, asked
        self._model, self._params = decoding_form(model, params)
        self._search = _begin(
            self._model,
            asked.max_new_tokens,
            asked.start_token_id,
            asked.strategy,
            self._params,
            asked.input_ids,
            asked.attention_mask,
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        shown, running, most = 0, True, self._asked.max_new_tokens
        while running and shown < most:
            self._search, running_now = _advance(
                self._model,
                self._asked.strategy,
                self._params,
                self._search,
                np.int32(min(shown + self._chunk, most)),
                self._asked.rng,
            )
            t = int(self._search.t)
            tokens_BNM = np.array(self._search.state.tokens_BNM)  # a copy: the buffer is reused
            if t > shown:
                yield tokens_BNM[:, :, shown:t].reshape(-1, t - shown)
            shown, running = t, bool(running_now)

    def end(self, rows: Any) -> None:
        """Ends the rows where the mask, bool [B * N], is true."""
        state = self._search.state
        ended_BN = np.asarray(rows, bool).reshape(state.finished_BN.shape)
        state = dataclasses.replace(state, finished_BN=state.finished_BN | ended_BN)
        self._search = dataclasses.replace(self._search, state=state)


def decoding_form(model: nn.Module, params: Any) -> tuple[nn.Module, Any]:
    """What `for_decoding` makes of a model and its parameters, made once for many programs."""
    if not hasattr(model, "for_decoding"):
        return model, params
    found: list[nn.Module] = []

    def look(params: Any) -> None:
        found.append(model.for_decoding(params)[0])

    jax.eval_shape(look, params)
    return found[0], _decoding_params(model, params)


@functools.partial(jax.jit, static_argnums=0)
def _decoding_params(model: Any, params: Any) -> Any:
    return model.for_decoding(params)[1]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _begin(
    model: nn.Module,
    max_new_tokens: int,
    start_token_id: int | None,
    strategy: Strategy,
    params: Any,
    input_ids: Any,
    attention_mask: Any,
) -> Search:
    cache = start_cache(model, params, strategy, input_ids, attention_mask, max_new_tokens)
    prompt_BP, prompt_mask_BP = prompt_of(start_token_id, input_ids, attention_mask)
    return begin(
        strategy,
        cache,
        prompt_BP,
        max_new_tokens=max_new_tokens,
        prompt_mask_BP=prompt_mask_BP,
    )


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def _advance(
    model: nn.Module, strategy: Strategy, params: Any, search: Search, until: Any, rng: Any
) -> tuple[Search, Any]:
    """As far as `until` new tokens, and whether there is reason to go on from there."""
    search = advance(step_of(model, params), strategy, search, until, rng=rng)
    return search, strategy.running(search.state, search.t)
