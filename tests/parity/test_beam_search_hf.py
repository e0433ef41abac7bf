"""`generate` against Hugging Face's own `generate`, on a model that is a table in both."""

import contextlib
import itertools

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

from transformers.generation import logits_process as hf_logits  # noqa: E402
from transformers.modeling_outputs import CausalLMOutput  # noqa: E402

from flaxformers_edu.decoding import filtered_log_probs, generate  # noqa: E402
from flaxformers_edu.decoding.logits import penalise_repetition  # noqa: E402
from tests.decoding.tables import DecoderOnlyTable, TableConfig, random_table  # noqa: E402

V, POSITIONS, P = 13, 9, 4
MODEL = DecoderOnlyTable(TableConfig(vocab_size=V, positions=POSITIONS, eos_token_id=1))


class TorchTableConfig(transformers.PretrainedConfig):
    model_type = "table"


class TorchTable(transformers.PreTrainedModel, transformers.GenerationMixin):
    """The table model as Hugging Face's `generate` wants it; it computes without a cache."""

    config_class = TorchTableConfig

    def __init__(self, config, table):
        super().__init__(config)
        self.table = torch.nn.Parameter(torch.tensor(table), requires_grad=False)
        self.post_init()

    def _init_weights(self, module):
        """The table is given."""

    def forward(self, input_ids, attention_mask=None, **_):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        position = attention_mask.cumsum(-1) - 1
        before = torch.nn.functional.pad(input_ids * attention_mask, (1, 0))[:, :-1]
        logits = self.table[position.clamp(min=0) % len(self.table), before, input_ids]
        return CausalLMOutput(logits=logits)


def torch_table(table):
    return TorchTable(TorchTableConfig(vocab_size=table.shape[1], use_cache=False), table).eval()


def prompts(seed, vocab_size=V, batch=3, padded=True):
    """Prompts padded on the left with token 0, of 1 to P tokens, and their mask."""
    generator = np.random.default_rng(seed)
    input_ids = generator.integers(0, vocab_size, (batch, P))
    lengths = generator.integers(1, P + 1, (batch, 1)) if padded else P
    mask = (np.arange(P)[None] >= P - lengths).astype(np.int64) * np.ones((batch, 1), np.int64)
    return input_ids * mask, mask


def compare(table, input_ids, mask, *, model=MODEL, **settings):
    """Both searches with the same settings: equal sequences, equal scores where there are some."""
    ours = generate(model, {"table": table}, input_ids, mask, **settings)
    theirs_settings = dict(settings)
    eos = theirs_settings.pop("eos_token_id")
    theirs_settings["eos_token_id"] = (list(eos) or None) if isinstance(eos, tuple) else eos
    if not settings.get("min_new_tokens"):
        theirs_settings.pop("min_new_tokens", None)
    theirs = torch_table(table).generate(
        torch.tensor(input_ids),
        attention_mask=torch.tensor(mask),
        return_dict_in_generate=True,
        output_scores=True,
        use_cache=False,
        do_sample=False,
        **theirs_settings,
    )
    np.testing.assert_array_equal(ours.sequences, theirs.sequences.numpy())
    if settings.get("num_beams", 1) > 1:
        np.testing.assert_allclose(ours.scores, theirs.sequences_scores.numpy(), atol=1e-4)
    else:
        # Hugging Face gives the scores token by token, for padding too: leave that out.
        token_scores = torch_table(table).compute_transition_scores(
            theirs.sequences, theirs.scores, normalize_logits=True
        )
        new = theirs.sequences[:, P:]
        ends = torch.isin(new, torch.tensor(theirs_settings["eos_token_id"] or [-1]))
        before_or_at_end = ends.int().cumsum(1) - ends.int() == 0
        expected = torch.where(before_or_at_end, token_scores, 0.0).sum(1)
        np.testing.assert_allclose(ours.scores, expected.numpy(), atol=1e-4)


TRACED = list(
    itertools.product([-1.0, 0.0, 0.5, 1.0, 2.0], [0.4, 1.5])  # length penalty, scale of logits
)
BEAM_SETTINGS = [
    # num_beams, early_stopping, eos, pad, n, new tokens, rules
    (2, False, (1,), 0, 2, 6, {}),
    (2, True, (1,), 5, 1, 6, {}),
    (2, "never", (1,), None, 2, 6, {}),
    (3, False, (1, 4), 0, 3, 7, {}),
    (3, True, (4, 1), 7, 2, 7, {}),
    (3, "never", (1, 4), None, 3, 7, {}),
    (4, False, (), 0, 4, 4, {}),
    (4, True, (2,), 0, 4, 8, {}),
    (4, "never", (2,), 3, 4, 8, {}),
    (3, False, (1,), 0, 3, 6, {"min_new_tokens": 3}),
    (3, True, (1, 2), 0, 3, 6, {"min_new_tokens": 4}),
    (3, "never", (1,), 0, 3, 6, {"min_new_tokens": 6}),
    (3, False, (1,), 0, 3, 6, {"repetition_penalty": 1.7}),
    (3, True, (1,), 0, 3, 6, {"repetition_penalty": 0.6}),
    (3, "never", (1,), 0, 3, 6, {"repetition_penalty": 1.3, "min_new_tokens": 2}),
    (2, False, (1,), 0, 2, 5, {"forced_eos_token_id": 1}),
    (2, True, (1,), 0, 2, 5, {"forced_eos_token_id": 1, "repetition_penalty": 1.3}),
    (2, "never", (1,), 0, 2, 5, {"forced_eos_token_id": 1}),
    (2, False, (1,), 0, 1, 1, {}),
]


@pytest.mark.parametrize("setting", BEAM_SETTINGS, ids=str)
def test_beam_search(setting):
    num_beams, early_stopping, eos, pad, n, max_new_tokens, rules = setting
    for seed, (length_penalty, scale) in enumerate(TRACED * 2):
        table = random_table(seed, POSITIONS, V, scale)
        input_ids, mask = prompts(seed, padded=seed % 3 != 0)
        compare(
            table,
            input_ids,
            mask,
            max_new_tokens=max_new_tokens,
            num_beams=num_beams,
            early_stopping=early_stopping,
            num_return_sequences=n,
            length_penalty=length_penalty,
            eos_token_id=eos,
            # Ours takes the config's padding, 0, for None; theirs has no config of that kind.
            **({} if pad is None else {"pad_token_id": pad}),
            **rules,
        )


@pytest.mark.parametrize(
    ("eos", "pad", "rules"),
    [
        ((1,), 0, {}),
        ((1, 4), 6, {}),
        ((), 0, {}),
        ((1, 4), 0, {"min_new_tokens": 3}),
        ((1,), 0, {"repetition_penalty": 1.6}),
        ((1,), 0, {"repetition_penalty": 0.7, "forced_eos_token_id": 1}),
    ],
    ids=str,
)
def test_greedy_search(eos, pad, rules):
    for seed in range(12):
        table = random_table(seed, POSITIONS, V)
        # Make the end likely enough for rows to finish at different times.
        table[..., 1] += 2.0
        input_ids, mask = prompts(seed)
        compare(
            table, input_ids, mask, max_new_tokens=6, eos_token_id=eos, pad_token_id=pad, **rules
        )


@pytest.mark.parametrize("num_beams", [1, 3])
def test_forced_first_token_after_a_prompt_of_one(num_beams):
    for seed in range(4):
        table = random_table(seed, POSITIONS, V)
        input_ids = np.array([[3], [5]])
        settings = {"max_new_tokens": 4, "eos_token_id": 1, "pad_token_id": 0}
        ours = generate(
            MODEL,
            {"table": table},
            input_ids,
            num_beams=num_beams,
            forced_bos_token_id=7,
            **settings,
        )
        theirs = torch_table(table).generate(
            torch.tensor(input_ids),
            attention_mask=torch.ones(2, 1, dtype=torch.long),
            num_beams=num_beams,
            forced_bos_token_id=7,
            do_sample=False,
            use_cache=False,
            **settings,
        )
        np.testing.assert_array_equal(ours.sequences, theirs.numpy())
        assert (np.asarray(ours.sequences)[:, 1] == 7).all()


@contextlib.contextmanager
def lowest_index_first():
    """`torch.topk` leaves the order of equal values open; this one has lax.top_k's."""
    original = torch.topk

    def topk(x, k, dim=-1, **_):
        values, indices = torch.sort(x, dim=dim, descending=True, stable=True)
        return values.narrow(dim, 0, k), indices.narrow(dim, 0, k)

    torch.topk = topk
    try:
        yield
    finally:
        torch.topk = original


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize(("vocab_size", "eos"), [(3, (1,)), (3, (0, 1)), (2, (1,))])
def test_as_many_beams_as_tokens_some_of_them_without_a_continuation(
    vocab_size, eos, early_stopping
):
    """Dead beams, at -1e9, run along: equal down to the places that nothing real has filled."""
    model = DecoderOnlyTable(TableConfig(vocab_size=vocab_size, positions=POSITIONS))
    for seed, length_penalty in enumerate([-1.0, 0.0, 1.0, 2.0] * 3):
        table = random_table(seed, POSITIONS, vocab_size)
        input_ids, mask = prompts(seed, vocab_size)
        settings = {
            "max_new_tokens": 4,
            "num_beams": vocab_size,
            "num_return_sequences": vocab_size,
            "length_penalty": length_penalty,
            "early_stopping": early_stopping,
            "eos_token_id": eos,
            "pad_token_id": 0,
        }
        ours = generate(model, {"table": table}, input_ids, mask, **settings)
        with lowest_index_first():
            theirs = torch_table(table).generate(
                torch.tensor(input_ids),
                attention_mask=torch.tensor(mask),
                return_dict_in_generate=True,
                output_scores=True,
                use_cache=False,
                do_sample=False,
                **{**settings, "eos_token_id": list(eos)},
            )
        np.testing.assert_allclose(ours.scores, theirs.sequences_scores.numpy(), atol=1e-4)
        np.testing.assert_array_equal(ours.sequences, theirs.sequences.numpy())


def hf_log_probs(logits, warpers):
    scores = torch.tensor(logits)
    for warper in warpers:
        scores = warper(None, scores)
    return torch.log_softmax(scores, dim=-1).numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.3])
@pytest.mark.parametrize("top_k", [None, 1, 5, 100])
@pytest.mark.parametrize("top_p", [None, 0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("min_p", [None, 0.0, 0.2, 1.0])
def test_filters(temperature, top_k, top_p, min_p):
    logits = np.random.default_rng(0).normal(0.0, 2.0, (6, 17)).astype(np.float32)
    warpers = [hf_logits.TemperatureLogitsWarper(temperature)]
    warpers += [] if top_k is None else [hf_logits.TopKLogitsWarper(top_k)]
    warpers += [] if top_p is None else [hf_logits.TopPLogitsWarper(top_p)]
    warpers += [] if min_p is None else [hf_logits.MinPLogitsWarper(min_p)]
    ours = filtered_log_probs(
        jax.numpy.asarray(logits), temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
    )
    np.testing.assert_allclose(ours, hf_log_probs(logits, warpers), atol=1e-5)


def test_ties_at_the_threshold_of_top_k_and_min_p():
    logits = np.array([[1.0, 3.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0]], np.float32)
    for k in (1, 2, 4):
        ours = filtered_log_probs(jax.numpy.asarray(logits), top_k=k)
        theirs = hf_log_probs(logits, [hf_logits.TopKLogitsWarper(k)])
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    ours = filtered_log_probs(jax.numpy.asarray(logits), min_p=1.0)
    theirs = hf_log_probs(logits, [hf_logits.MinPLogitsWarper(1.0)])
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.8])
def test_repetition_penalty(penalty):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4, 9)).astype(np.float32)
    tokens = generator.integers(0, 9, (4, 5))
    seen = (tokens[..., None] == np.arange(9)).any(axis=1)
    ours = penalise_repetition(jax.numpy.asarray(logits), jax.numpy.asarray(seen), penalty)
    processor = hf_logits.RepetitionPenaltyLogitsProcessor(penalty)
    theirs = processor(torch.tensor(tokens), torch.tensor(logits))
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
