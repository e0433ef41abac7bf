"""Beam search as the textbook has it: Python lists, one sentence, no arrays of beams."""

import numpy as np


def log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max()
    return logits - np.log(np.exp(logits).sum())


def table_log_probs(table, prompt, *, max_new_tokens, eos=(), rules=None):
    """`new_tokens -> log-probabilities` of a table model after `prompt`, by the rules if any.

    rules: dict with repetition_penalty, min_new_tokens, forced_eos (a token or None).
    """

    def log_probs(new_tokens):
        tokens = [0, *prompt, *new_tokens]
        position = len(tokens) - 2
        scores = log_softmax(table[position % len(table)][tokens[-2]][tokens[-1]])
        if rules:
            for token in {*prompt, *new_tokens}:
                scores[token] *= rules["repetition_penalty"]
            if len(new_tokens) < rules["min_new_tokens"]:
                scores[list(eos)] = -np.inf
            if rules["forced_eos"] is not None and len(new_tokens) == max_new_tokens - 1:
                scores[:] = -np.inf
                scores[rules["forced_eos"]] = 0.0
        return scores

    return log_probs


def normaliser(scorer, length, length_penalty):
    return ((5 + length) / 6 if scorer == "gnmt" else float(length)) ** length_penalty


def beam_search(
    log_probs,
    *,
    num_beams,
    max_new_tokens,
    eos,
    length_penalty,
    early_stopping,
    scorer="huggingface",
):
    """The finished hypotheses [(score, tokens)], best first."""
    running = [(0.0, [])]
    finished = []
    num_candidates = max(2, 1 + len(eos)) * num_beams

    def final(total, length):
        return total / normaliser(scorer, length, length_penalty)

    while running:
        candidates = [
            (total + score, [*tokens, token])
            for total, tokens in running
            for token, score in enumerate(log_probs(tokens))
            if score > -np.inf
        ]
        candidates.sort(key=lambda candidate: -candidate[0])
        running = []
        for rank, (total, tokens) in enumerate(candidates[:num_candidates]):
            length = len(tokens)
            if tokens[-1] in eos or length == max_new_tokens:
                if rank < num_beams:
                    finished.append((final(total, length), tokens))
            elif len(running) < num_beams:
                running.append((total, tokens))
        finished.sort(key=lambda hypothesis: -hypothesis[0])
        finished = finished[:num_beams]

        if len(finished) == num_beams and running:
            if early_stopping is True:
                break
            best_total, tokens = running[0]
            longest = early_stopping == "never" and length_penalty > 0
            length = max_new_tokens if longest else len(tokens)
            if final(best_total, length) <= finished[-1][0]:
                break
    return finished


def all_sequences(log_probs, *, max_new_tokens, eos, length_penalty, scorer="huggingface"):
    """Every sequence there is, [(score, tokens)], best first."""
    found = []

    def extend(total, tokens):
        if tokens and (tokens[-1] in eos or len(tokens) == max_new_tokens):
            score = total / normaliser(scorer, len(tokens), length_penalty)
            found.append((score, tokens))
            return
        for token, score in enumerate(log_probs(tokens)):
            if score > -np.inf:
                extend(total + score, [*tokens, token])

    extend(0.0, [])
    return sorted(found, key=lambda hypothesis: -hypothesis[0])
