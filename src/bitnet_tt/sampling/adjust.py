"""Change the logits of single tokens: logit_bias, and the penalties for repeating, in float32 and in a fixed order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.config import GenerationConfig
from bitnet_tt.sampling.text import Text

BAN, FORCE = -100.0, 100.0
"""The values of logit_bias that ban a token, and that allow only such tokens."""


def adjusts(config: GenerationConfig) -> bool:
    """Return whether `adjust` changes any logit."""
    return (
        config.repetition_penalty != 1.0
        or config.frequency_penalty != 0.0
        or config.presence_penalty != 0.0
        or bool(config.logit_bias)
    )


def forces(config: GenerationConfig, token_ids: NDArray[np.int64]) -> bool:
    """Return whether logit_bias forces some of these tokens; all others are then banned."""
    if not config.logit_bias:
        return False
    biased, biases = _biases(config)
    return bool(np.isin(biased[biases == FORCE], token_ids).any())


def adjusted_tokens(config: GenerationConfig, text: Text) -> NDArray[np.int64]:
    """Return the tokens whose logits `adjust` may change, rising and each once."""
    named = []
    if config.logit_bias:
        named.append(_biases(config)[0])
    if config.repetition_penalty != 1.0:
        named.append(text.seen)
    elif config.frequency_penalty != 0.0 or config.presence_penalty != 0.0:
        named.append(text.generated[0])
    return np.unique(np.concatenate(named)) if len(named) > 1 else named[0]


def adjust(
    logits: NDArray[np.float32], token_ids: NDArray[np.int64] | None, config: GenerationConfig, text: Text
) -> NDArray[np.float32]:
    """Return a copy of the logits with logit_bias and the penalties applied, as docs/numerics.md defines them.

    Every operation is one float32 operation on one logit, so the result has the same bits on every machine, and does
    not depend on which other logits there are. A banned token gets -inf; if some tokens are forced, all others get it.
    Bans that would leave no token are ignored: a constraint may allow only banned ones.

    Args:
        logits: float32 [n].
        token_ids: Their tokens, rising. None if `logits` is the whole row.
        config: The settings of the request.
        text: The text so far.
    """
    adjusted = logits.copy()
    if config.logit_bias:
        biased, biases = _biases(config)
        at, found = _places(token_ids, biased)
        adjusted[at] += biases[found]
    if config.repetition_penalty != 1.0:
        at, _ = _places(token_ids, text.seen)
        values, penalty = adjusted[at], np.float32(config.repetition_penalty)
        adjusted[at] = np.where(values > 0, values / penalty, values * penalty)
    if config.frequency_penalty != 0.0 or config.presence_penalty != 0.0:
        generated, counts = text.generated
        at, found = _places(token_ids, generated)
        adjusted[at] -= np.float32(config.frequency_penalty) * counts[found]
        adjusted[at] -= np.float32(config.presence_penalty)
    return _with_bans(adjusted, token_ids, config) if config.logit_bias else adjusted


def _with_bans(
    adjusted: NDArray[np.float32], token_ids: NDArray[np.int64] | None, config: GenerationConfig
) -> NDArray[np.float32]:
    biased, biases = _biases(config)
    at, found = _places(token_ids, biased)
    forced, banned = at[biases[found] == FORCE], at[biases[found] == BAN]
    if len(forced):
        kept = np.full_like(adjusted, -np.inf)
        kept[forced] = adjusted[forced]
        return kept
    if len(banned) < len(adjusted):  # otherwise no token would be left
        adjusted[banned] = -np.inf
    return adjusted


def _biases(config: GenerationConfig) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the token ids of logit_bias and their numbers."""
    biases = dict(config.logit_bias or ())
    return np.array(list(biases), np.int64), np.array(list(biases.values()), np.float32)


def _places(
    token_ids: NDArray[np.int64] | None, wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where the wanted tokens are among `token_ids` (None: all tokens), and which of them are there."""
    if token_ids is None:
        return wanted, np.ones(len(wanted), np.bool_)
    at = np.searchsorted(token_ids, wanted)
    found = np.append(token_ids, -1)[at] == wanted
    return at[found], found
