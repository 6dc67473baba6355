"""The golden checkpoints: small models and the logits that transformers 5.23.0 computes for them in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "golden"
NAMES = ("bitnet-packed", "bitnet-master-bf16", "llama-packed-divide")


def expected(name: str) -> dict[str, NDArray[np.generic]]:
    """Return what transformers computed for a golden checkpoint.

    Returns:
        Arrays by name. Two texts: `input_ids` [2, 33] and their `logits` [2, 33, vocab]. A greedy continuation:
        `greedy_prompt` [9], the picked `greedy_ids` [32], and `greedy_margin` [32], the lead of each picked token's
        logit over the second largest.
    """
    with np.load(FOLDER / name / "expected.npz") as arrays:
        return dict(arrays)
