"""Optimisers: typed compositions of optax's parts, the same for stacked and for separate layers."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.optim.depth import scale_by_depth
from flaxformers_edu.optim.matrices import as_matrices, axes_of, per_layer
from flaxformers_edu.optim.paths import map_with_names, match_paths
from flaxformers_edu.optim.unfreezing import starts, unfreezing

Name = Literal["adamw", "lamb", "lars", "adafactor", "lion", "muon", "sgd", "adagrad"]

NEVER_DECAYED = re.compile(r"(^|/)[^/]*(bias|scale)$|position|relative")
"""Biases, norms, positions, relative biases: pulling these to zero has no meaning."""
EMBEDDINGS = re.compile(r"(^|/)embedding$")


@dataclass(frozen=True)
class Optimizer:
    """How gradients become updates."""

    name: Name = "adamw"
    """adamw, lamb, lars, adafactor, lion, muon (AdamW outside hidden matrices), sgd or adagrad."""
    b1: float = 0.9
    """Decay of the first moment: adamw, lamb, lion, and muon's AdamW."""
    b2: float = 0.999
    """Decay of the second moment: adamw, lamb, muon's AdamW; of lion's one moment (0.99)."""
    eps: float = 1e-8
    """Added to the root of the second moment: adamw, lamb, muon. Of adagrad within the root."""
    momentum: float = 0.9
    """Of sgd, lars and muon (0.95 is usual there)."""
    weight_decay: float = 0.0
    """Decoupled decay, times the learning rate; biases, norms and positions are never decayed."""
    decay_embeddings: bool = True
    """Whether token embeddings are decayed."""
    no_decay: tuple[str, ...] = ()
    """More parameters without decay: regular expressions on names like encoder/mlp/up/kernel."""
    clip_norm: float = 0.0
    """Gradients of a greater global norm are scaled down to it; 0: never."""
    mu_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type in which first moments are kept: adamw, lamb, lion, muon, sgd, lars."""
    trust_coefficient: float = 1e-3
    """LARS: how far a layer may move, as a part of its weights' norm."""
    first_square: float = 1.0
    """Adagrad: what the sums of squares begin with."""
    scale_by_parameter: bool = True
    """Adafactor: steps relative to the root mean square of each layer's parameter."""
    muon_matrices: tuple[str, ...] = (r"(^|/)(layers|shared)/.*kernel$",)
    """Muon: the hidden matrices, by regular expressions on their names."""
    rate_factors: tuple[tuple[str, float], ...] = ()
    """Factors on the learning rate by regular expressions on names; of several that match, all.
    Weight decay is as fast as without them. muP's are what a config's `mup_rate_factors` gives."""
    frozen: tuple[str, ...] = ()
    """Parameters that do not move and have no moments: regular expressions on their names."""
    layer_decay: float = 1.0
    """Rate of a layer as a part of that of the layer above it, down to the embeddings; the head has
    the full rate (ELECTRA's fine-tuning: 0.8, and 0.9 for 24 layers). 1: the same for all."""
    layer_decay_above: int = 2
    """Steps of layer_decay from the last layer to the head: 2 in ELECTRA; 1 in ULMFiT, whose
    layer_decay is 1 / 2.6."""
    head: tuple[str, ...] = ()
    """What counts as the head for layer_decay and unfreeze_every, by regular expressions on names:
    a table of tokens that is the output layer of a language model, too."""
    unfreeze_every: int = 0
    """Gradual unfreezing: the head moves from the first update, and one layer more after every so
    many, from the last to the embeddings (Howard & Ruder 2018: an epoch). 0: all move."""
    unfreeze_at: tuple[tuple[str, int], ...] = ()
    """The first update at which parameters move, counted from 0, by regular expressions on names;
    of several that match, the last, and before unfreeze_every."""

    def __post_init__(self) -> None:
        """Refuses what no run could use.

        Raises:
            InputError: naming the field, its value and what is allowed.
        """
        if self.name not in get_args(Name):
            raise unknown_name("optimizer.name", self.name, get_args(Name))
        if self.mu_dtype not in ("float32", "bfloat16"):
            raise unknown_name("optimizer.mu_dtype", self.mu_dtype, ("float32", "bfloat16"))
        for field in ("b1", "b2", "momentum"):
            if not 0 <= getattr(self, field) < 1:
                raise InputError(
                    f"optimizer.{field}={getattr(self, field)} must be at least 0 and below 1"
                )
        for field in ("eps", "weight_decay", "clip_norm", "trust_coefficient", "first_square"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise InputError(f"optimizer.{field}={getattr(self, field)} must be 0 or more")
        if not 0 < self.layer_decay <= 1:
            raise InputError(
                f"optimizer.layer_decay={self.layer_decay} must be above 0 and at most 1"
            )
        for field, least in (("layer_decay_above", 1), ("unfreeze_every", 0)):
            if getattr(self, field) < least:
                raise InputError(
                    f"optimizer.{field}={getattr(self, field)} must be at least {least}"
                )
        for pattern, update in self.unfreeze_at:
            if update < 0:
                raise InputError(
                    f"optimizer.unfreeze_at gives {pattern!r} {update}; it must be 0 or more"
                )
        for pattern, factor in self.rate_factors:
            if not 0 <= factor < float("inf"):
                raise InputError(
                    f"optimizer.rate_factors gives {pattern!r} {factor}; it must be 0 or more"
                )

    def decay_mask(self, params: Any) -> Any:
        """True for parameters that are decayed: a tree of bools of the structure of `params`.

        Names decide, not ranks: in scanned layers even a bias is a matrix.

        Raises:
            InputError: a pattern of `no_decay` covers no parameter.
        """
        excluded = match_paths(params, self.no_decay)

        def decayed(name: str, is_excluded: bool) -> bool:
            if is_excluded or NEVER_DECAYED.search(name):
                return False
            return self.decay_embeddings or not EMBEDDINGS.search(name)

        return map_with_names(decayed, excluded)

    def build(
        self, learning_rate: optax.ScalarOrSchedule, params: Any
    ) -> optax.GradientTransformation:
        """The optax transformation for a tree of parameters like `params`.

        Args:
            learning_rate: a number, or a function of the step such as `Schedule.build` returns.
            params: nested dicts of arrays or of `jax.ShapeDtypeStruct`; names and ranks matter.

        Raises:
            InputError: a pattern covers no parameter, `frozen` covers all, or there are no layers
                to unfreeze.
        """
        parts = [self._moving(learning_rate, params)]
        if self.frozen:
            frozen = match_paths(params, self.frozen)
            if all(jax.tree.leaves(frozen)):
                raise InputError(f"optimizer.frozen={self.frozen} covers all: nothing can learn")
            labels = jax.tree.map(lambda is_frozen: "frozen" if is_frozen else "moving", frozen)
            rules = {"moving": parts[0], "frozen": optax.set_to_zero()}
            parts = [optax.partition(rules, labels)]
        if self.layer_decay < 1:
            above = self.layer_decay_above
            parts.append(
                scale_by_depth(params, self.layer_decay, above_layers=above, head=self.head)
            )
        whole = parts[0] if len(parts) == 1 else optax.chain(*parts)
        if not self._unfreezes:
            return whole
        first = starts(params, every=self.unfreeze_every, at=self.unfreeze_at, head=self.head)
        return unfreezing(whole, first, self.clip_norm)

    @property
    def _unfreezes(self) -> bool:
        return bool(self.unfreeze_every or self.unfreeze_at)

    def _moving(
        self, learning_rate: optax.ScalarOrSchedule, params: Any
    ) -> optax.GradientTransformation:
        """The transformation of parameters that learn, all at one rate."""
        mask = self.decay_mask(params)
        mu_dtype = jnp.dtype(self.mu_dtype)
        decay = (
            optax.add_decayed_weights(self.weight_decay, mask)
            if self.weight_decay
            else optax.identity()
        )
        adam = optax.scale_by_adam(self.b1, self.b2, self.eps, mu_dtype=mu_dtype)
        heavy_ball = optax.trace(self.momentum, accumulator_dtype=mu_dtype)
        rate = optax.scale_by_learning_rate(learning_rate)
        factors = [_scale_matching(pattern, by, params) for pattern, by in self.rate_factors]
        match self.name:
            case "adamw":  # Loshchilov & Hutter 2019; with weight_decay=0, Adam.
                parts = [adam, *factors, decay, rate]
            case "lamb":  # You et al. 2020, Algorithm 2; norms and biases without trust ratio.
                parts = [adam, decay, optax.masked(_trust_ratio(1.0), mask), *factors, rate]
            case "lars":  # You et al. 2017: decay belongs to the gradient, momentum is last.
                trust = _trust_ratio(self.trust_coefficient)
                parts = [decay, optax.masked(trust, mask), *factors, rate, heavy_ball]
            case "lion":  # Chen et al. 2023, Algorithm 2.
                lion = optax.scale_by_lion(self.b1, self.b2, mu_dtype=mu_dtype)
                parts = [lion, *factors, decay, rate]
            case "adagrad":  # Duchi et al. 2011, the diagonal form.
                parts = [optax.scale_by_rss(self.first_square, self.eps), *factors, decay, rate]
            case "sgd":
                parts = [heavy_ball, *factors, decay, rate]
            case "adafactor":  # Shazeer & Stern 2018, Algorithm 4.
                parts = [_factored_rms(), _stateless(per_layer(_clip_rms))]
                if self.scale_by_parameter:
                    parts.append(_stateless(per_layer(_times_parameter_rms)))
                parts += [*factors, decay, rate]
            case "muon":
                hidden = match_paths(params, self.muon_matrices)
                labels = jax.tree.map(lambda is_hidden: "muon" if is_hidden else "adam", hidden)
                muon = _muon(self.momentum, mu_dtype)
                both = optax.partition({"muon": muon, "adam": adam}, labels)
                parts = [both, *factors, decay, rate]
        if self.clip_norm and not self._unfreezes:  # which looks at what moves alone
            parts = [optax.clip_by_global_norm(self.clip_norm), *parts]
        return optax.chain(*parts)


def _scale_matching(pattern: str, factor: float, params: Any) -> optax.GradientTransformation:
    """Updates of the parameters whose names hold a match of `pattern`, times `factor`."""
    return optax.masked(optax.scale(factor), match_paths(params, [pattern]))


def _stateless(function: Callable[[Any, Any], Any]) -> optax.GradientTransformation:
    """`(updates, params) -> updates` as a transformation; the parameters are needed."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return function(updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _rms(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(x)))


def _clip_rms(update: jax.Array, parameter: jax.Array) -> jax.Array:
    """Root mean square at most 1 (Shazeer & Stern 2018, section 6)."""
    return update / jnp.maximum(1.0, _rms(update))


def _times_parameter_rms(update: jax.Array, parameter: jax.Array) -> jax.Array:
    """Relative step size, with the paper's ε₂ = 1e-3 (section 8)."""
    return update * jnp.maximum(1e-3, _rms(parameter))


def _trust_ratio(coefficient: float) -> optax.GradientTransformation:
    """Updates times coefficient · ‖parameter‖ / ‖update‖ by layer; unchanged where either is 0."""

    def scale(update: jax.Array, parameter: jax.Array) -> jax.Array:
        parameter_norm = jnp.linalg.norm(parameter.ravel())
        update_norm = jnp.linalg.norm(update.ravel())
        usable = (parameter_norm > 0) & (update_norm > 0)
        ratio = coefficient * parameter_norm / jnp.where(usable, update_norm, 1.0)
        return update * jnp.where(usable, ratio, 1.0)

    return _stateless(per_layer(scale))


def _factored_rms() -> optax.GradientTransformation:
    """Adafactor's second moment, in rows and columns of the matrices that kernels stand for.

    On kernels that are split into heads it would find no two axes worth factoring.
    """
    inner = optax.scale_by_factored_rms()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        matrices, state = inner.update(as_matrices(updates), state, as_matrices(params))
        return jax.tree.map(lambda new, old: new.reshape(old.shape), matrices, updates), state

    return optax.GradientTransformation(lambda params: inner.init(as_matrices(params)), update)


def _muon(momentum: float, mu_dtype: Any) -> optax.GradientTransformation:
    """Orthogonalised momentum (Jordan et al. 2024), a layer at a time, heads joined.

    Scaled by 0.2 √max(inputs, outputs), which gives updates the size of AdamW's (Liu et al. 2025,
    section 2.2), so that one learning rate serves both.
    """

    def dimensions(name: str, leaf: jax.Array) -> contrib.MuonDimensionNumbers:
        layers, inputs, outputs = axes_of(name, leaf.ndim)
        return contrib.MuonDimensionNumbers(
            tuple(range(layers, layers + inputs)), tuple(range(layers + inputs, leaf.ndim))
        )

    def resize(name: str, update: jax.Array) -> jax.Array:
        layers, inputs, _ = axes_of(name, update.ndim)
        fan_in = math.prod(update.shape[layers : layers + inputs])
        fan_out = math.prod(update.shape[layers + inputs :])
        return update * (0.2 * max(fan_in, fan_out) ** 0.5)

    return optax.chain(
        contrib.scale_by_muon(
            beta=momentum,
            mu_dtype=mu_dtype,
            weight_dimension_numbers=lambda params: map_with_names(dimensions, params),
        ),
        optax.stateless(lambda updates, _: map_with_names(resize, updates)),
    )
