"""Texts that go on from prompts."""

from collections.abc import Sequence
from typing import Any

import jax

from flaxformers_edu.decoding import generate_text
from flaxformers_edu.pipelines.base import Pipeline


class TextGeneration(Pipeline):
    """Prompts: a list of {generated_text} each, as many as `num_return_sequences`."""

    model_task = "causal_lm"

    def answers(
        self,
        inputs: Sequence[Any],
        *,
        max_new_tokens: int | None = None,
        stop_strings: Sequence[str] = (),
        return_full_text: bool = True,
        seed: int = 0,
        **settings: Any,
    ) -> list[Any]:
        """One list a prompt.

        Args:
            inputs: texts.
            max_new_tokens: of each text, at most; None: what the folder says, or else 64.
            stop_strings: a text ends before the first of them.
            return_full_text: whether the prompt stands before what follows it.
            seed: of the draw, with `do_sample`.
            **settings: as `decoding.Settings` has them, in place of what the folder's
                generation_config.json says.

        Raises:
            InputError: a prompt that does not fit, or a setting out of range.
        """
        settings = {"max_new_tokens": 64} | self.pretrained.generation | settings
        if max_new_tokens is not None:
            settings["max_new_tokens"] = max_new_tokens
        answers = generate_text(
            self.pretrained.model,
            self.pretrained.params,
            self.tokenizer,
            inputs,
            stop_strings=stop_strings,
            batch_size=self.batch_size,
            rng=jax.random.key(seed) if settings.get("do_sample") else None,
            **settings,
        )
        return [
            [
                {"generated_text": prompt + one.text if return_full_text else one.text}
                for one in continuations
            ]
            for prompt, continuations in zip(inputs, answers, strict=True)
        ]
