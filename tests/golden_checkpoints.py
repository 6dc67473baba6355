"""The golden checkpoints: small models with what transformers 5.23.0 computes for them in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "golden"
NAMES = ("bitnet-packed", "bitnet-master-bf16", "llama-packed-divide")


def expected(name: str) -> dict[str, NDArray[np.generic]]:
    """input_ids [2, 33] and their logits [2, 33, vocab]; greedy_prompt [9], greedy_ids [32], greedy_margin [32]."""
    with np.load(FOLDER / name / "expected.npz") as arrays:
        return dict(arrays)
