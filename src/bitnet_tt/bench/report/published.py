"""Figures that the authors of 2B4T published (arXiv 2504.12285, table 1), to compare with measured ones."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_tt.bench.synthetic import SHAPES
from bitnet_tt.config import ModelConfig


@dataclass(frozen=True, slots=True)
class PublishedFigures:
    """The published figures of one model.

    Attributes:
        model: The name of the model.
        memory_gb: Memory of the weights without embeddings, in 10^9 bytes; of 2B4T, its weights times 1.58 bits.
        ms_per_token: Milliseconds per generated token on an Intel i7-13800H with 8 threads; reported.
        arithmetic_joules_per_512_tokens: Energy of the arithmetic for 512 tokens, estimated for 7 nm without the
            lm_head and without memory. `estimate_energy` computes it.
    """

    model: str
    memory_gb: float
    ms_per_token: float
    arithmetic_joules_per_512_tokens: float


NOTE = (
    "The other rows are from arXiv 2504.12285. Memory: 0.4 GB is 2.084e9 weights times 1.58 bits. Time: reported, "
    "other hardware (i7-13800H, 8 threads); a later chart of bitnet.cpp shows 50 ms for 2B4T there (6 threads). "
    "Energy: an estimate for 512 tokens, not measured and not per token: arithmetic at 7 nm, without lm_head and "
    "memory; see bitnet-tt info --energy."
)

_PUBLISHED = (
    PublishedFigures("BitNet b1.58 2B4T", 0.4, 29, 0.028),
    PublishedFigures("Llama-3.2-1B", 2.0, 48, 0.258),
    PublishedFigures("Gemma-3-1B", 1.4, 41, 0.186),
    PublishedFigures("Qwen2.5-1.5B", 2.6, 65, 0.347),
    PublishedFigures("SmolLM2-1.7B", 3.2, 67, 0.425),
    PublishedFigures("MiniCPM-2B", 4.8, 124, 0.649),
)


def published_figures(config: ModelConfig) -> tuple[PublishedFigures, ...]:
    """Return the figures that can be compared with a model of this shape: all for the shape of 2B4T, else none."""
    same = all(getattr(config, field) == size for field, size in SHAPES["2b4t"].items())
    return _PUBLISHED if same else ()
