"""What the model's authors report (arXiv 2504.12285, table 1), to stand beside what is measured here."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_tt.bench.synthetic import SHAPES
from bitnet_tt.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Reported:
    """A model's figures.

    Attributes:
        model: Its name.
        memory_gb: Without embeddings; reported.
        ms_per_token: Generating on an Intel i7-13800H with 8 threads; reported, other hardware.
        joules_per_token: Generating; estimated from operation counts at 7 nm.
    """

    model: str
    memory_gb: float
    ms_per_token: float
    joules_per_token: float


NOTE = (
    "The others are from arXiv 2504.12285: memory reported; time reported, other hardware (i7-13800H, 8 threads); "
    "energy estimated from operation counts at 7 nm."
)

_REPORTED = (
    Reported("BitNet b1.58 2B4T", 0.4, 29, 0.028),
    Reported("Llama-3.2-1B", 2.0, 48, 0.258),
    Reported("Qwen2.5-1.5B", 2.6, 65, 0.347),
    Reported("SmolLM2-1.7B", 3.2, 67, 0.425),
    Reported("MiniCPM-2B", 4.8, 124, 0.649),
)


def reported(config: ModelConfig) -> tuple[Reported, ...]:
    """The figures that can stand beside a model of this shape: all for 2B4T's, else none."""
    same = all(getattr(config, field) == size for field, size in SHAPES["2b4t"].items())
    return _REPORTED if same else ()
