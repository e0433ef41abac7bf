"""A softmax over a sample of the vocabulary (Jean et al. 2015; TensorFlow's sampled_softmax_loss).

Words are numbered by frequency, and number k is drawn in proportion to log(1 + 1 / (k + 1)), which
is Zipf's law. A whole batch shares the sample, so that it is one product with few rows.

Dims: N places, D size of a state, V vocabulary, S sampled words.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from flaxformers_edu.objectives.losses import IGNORED_LABEL, Loss


def log_uniform_V(vocab_size: int) -> Float[Array, " V"]:
    """The probability of each word, of those numbered by frequency."""
    numbers_V = jnp.arange(vocab_size, dtype=jnp.float32)
    return jnp.log1p(1 / (numbers_V + 1)) / jnp.log(vocab_size + 1.0)


def draw(
    key: PRNGKeyArray, vocab_size: int, samples: int
) -> tuple[Int[Array, " S"], Float[Array, " V"]]:
    """So many different words, and the log of the expected count of each word of the vocabulary.

    Each word arrives at a random time, at the rate of its probability; those that arrive first are
    the sample. A word is among those that arrived before the next one, at τ, with probability
    1 - exp(-p τ): what TensorFlow's 1 - (1 - p)^tries, of draws until enough differ, tends to.
    """
    p_V = log_uniform_V(vocab_size)
    arrival_V = jax.random.exponential(key, (vocab_size,)) / p_V
    negative_S, numbers_S = jax.lax.top_k(-arrival_V, samples + 1)
    log_expected_V = jnp.log(-jnp.expm1(p_V * negative_S[-1]))
    return numbers_S[:-1], log_expected_V


def sampled_cross_entropy(
    hidden_ND: Float[Array, "N D"],
    labels_N: Int[Array, " N"],
    table_VD: Float[Array, "V D"],
    bias_V: Float[Array, " V"],
    key: PRNGKeyArray,
    samples: int,
) -> Loss:
    """Cross-entropy of the label against itself and a sample, over the labels that are not -100.

    The log of its expected count is subtracted from each logit, the label's too, and where the
    label is in the sample it counts once. It is a loss to learn from, and says no perplexity.
    """
    numbers_S, log_expected_V = draw(key, table_VD.shape[0], samples)
    real_N = labels_N != IGNORED_LABEL
    safe_N = jnp.where(real_N, labels_N, 0)
    adjusted_V = bias_V.astype(jnp.float32) - log_expected_V

    def rows(numbers: Array) -> Array:
        return jnp.take(table_VD, numbers, axis=0).astype(hidden_ND.dtype)

    own_N = (hidden_ND * rows(safe_N)).sum(-1).astype(jnp.float32) + adjusted_V[safe_N]
    others_NS = (hidden_ND @ rows(numbers_S).T).astype(jnp.float32) + adjusted_V[numbers_S][None]
    is_own_NS = safe_N[:, None] == numbers_S[None]
    others_NS = jnp.where(is_own_NS, -jnp.inf, others_NS)
    logits_NS = jnp.concatenate([own_N[:, None], others_NS], axis=-1)
    loss_N = jax.nn.logsumexp(logits_NS, axis=-1) - own_N
    total = jnp.where(real_N, loss_N, 0).sum(dtype=jnp.float32)
    return Loss(sum=total, weight=real_N.sum(dtype=jnp.float32), counts={})
