"""The number of parameters of a decoder in closed form.

Dims: A width of all heads, D hidden size, F intermediate size, G width of all key/value heads,
V vocabulary.
"""

from flaxformers_edu.models.decoder_config import LANGUAGE_TASKS, DecoderConfig


def parameter_count(config: DecoderConfig, task: str = "causal_lm") -> int:
    """The number of parameters, in closed form.

    With D = hidden_size, A = num_heads · head_dim, G = num_kv_heads · head_dim,
    F = intermediate_size and V rows in the table of tokens: attention has 2DA + 2DG, and A + 2G + D
    biases; the feed-forward network 2DF, or 3DF where it is gated, and a bias for each column; each
    a norm of D or, with biases, 2D. Beside the layers there are VD for the tokens, again VD for
    an output layer of its own, max_length · D for learned positions, and a final norm.
    """
    c = config
    D, F, V = c.hidden_size, c.intermediate_size, c.vocab_size
    A, G = c.num_heads * c.width_of_heads, c.kv_heads * c.width_of_heads
    biases = {"all": A + 2 * G + D, "output": D, "none": 0}[c.attention_bias]
    ways_up = 2 if c.gated else 1
    attention = 2 * D * A + 2 * D * G + biases
    mlp = (ways_up + 1) * D * F + (ways_up * F + D if c.mlp_bias else 0)
    norm = 2 * D if c.norm == "layer" else D
    attentions = 1 if c.share in ("attention", "all") else c.num_layers
    mlps = 1 if c.share in ("ffn", "all") else c.num_layers
    layers = attentions * (attention + norm) + mlps * (mlp + norm)
    tables = V * D + (c.max_length * D if c.positions == "learned" else 0)
    output = 0 if c.tie_embeddings or task not in LANGUAGE_TASKS else V * D
    heads = {
        "sequence_classification": D * c.num_labels,
        "multiple_choice": D + 1,
        "token_classification": (D + 1) * c.num_labels,
        "question_answering": (D + 1) * 2,
    }
    final_norm = norm if c.norm_position == "pre" else 0
    return layers + tables + final_norm + output + heads.get(task, 0)
