"""The golden checkpoints: small models and the logits that transformers computes for them in float32.

The first three are by transformers 5.23.0, the others by 5.24.0: tools/record_transformers/record_logits.py made them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "golden"
TT_NAMES = ("bitnet-packed", "bitnet-master-bf16", "llama-packed-divide", "llama-packed-llama3")
"""Those that the Tenstorrent backend can run."""
NAMES = (*TT_NAMES, "llama-packed-linear", "qwen3-packed-yarn", "qwen3-embedding")
BONSAI = "ternary-bonsai"
"""One with group scales, which only the CPU and the reference run. transformers quantises no activations of it."""

ADAPTER = Path(__file__).parent / "golden_adapter"
"""A low-rank adapter of bitnet-packed, made by PEFT 0.21.2: tools/record_transformers/record_adapter.py."""


def adapter_logits() -> NDArray[np.float32]:
    """Return the logits [2, 33, vocab] that transformers computes for the two texts with the adapter."""
    with np.load(ADAPTER / "expected.npz") as arrays:
        logits: NDArray[np.float32] = arrays["logits"]
        return logits


def expected(name: str) -> dict[str, NDArray[np.generic]]:
    """Return what transformers computed for a golden checkpoint.

    Returns:
        Arrays by name. Two texts: `input_ids` [2, 33] and their `logits` [2, 33, vocab]. A greedy continuation:
        `greedy_prompt` [9], the picked `greedy_ids` [32], and `greedy_margin` [32], the lead of each picked token's
        logit over the second largest. Where `embeddings` [2, 33, hidden] are: the embedding of each beginning of the
        two texts, by last-token pooling and the L2 norm.
    """
    with np.load(FOLDER / name / "expected.npz") as arrays:
        return dict(arrays)
