"""Give a random model the entropy of a trained one: random weights make logits that are much more peaked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import Backend, Batch
from bitnet_tt.weights import ModelWeights

_TOKENS, _ROWS = 32, 16
_HALVINGS = 40


def scale_norm(weights: ModelWeights, backend: Backend, vocab_size: int, nats: float) -> ModelWeights:
    """Return the weights with another gain of the final norm, so that the next token has about this entropy.

    The gain scales all logits. Their entropy is measured at the last positions of a random prompt.

    Args:
        weights: The weights of a model.
        backend: The same model. It gets a new cache.
        vocab_size: Tokens of the vocabulary.
        nats: The mean entropy, above 0.
    """
    backend.allocate(1, _TOKENS)
    batch = Batch(
        token_ids=np.random.default_rng(0).integers(0, vocab_size, _TOKENS).astype(np.int32),
        starts=np.array([0, _TOKENS], np.int32),
        positions=np.zeros(1, np.int32),
        block_tables=np.zeros((1, 1), np.int32),
        logit_rows=np.arange(_TOKENS - _ROWS, _TOKENS, dtype=np.int32),
    )
    logits = backend.forward(batch).astype(np.float64)
    low, high = 1e-4, 1e4  # a smaller scale has a larger entropy
    for _ in range(_HALVINGS):
        scale = (low * high) ** 0.5
        low, high = (scale, high) if _entropy(logits * scale) > nats else (low, scale)
    return replace(weights, norm=(weights.norm * np.float32(low)).astype(np.float32))


def _entropy(logits: NDArray[np.float64]) -> float:
    """Return the mean entropy of the softmax of rows, in nats."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=1)
    return float(np.mean(np.log(total) - (powers * shifted).sum(axis=1) / total))
