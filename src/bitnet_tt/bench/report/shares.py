"""Convert tokens per second to shares of the machine's limits (a roofline model)."""

from __future__ import annotations

from dataclasses import replace

from bitnet_tt.bench.report.results import Roof, Speed
from bitnet_tt.config import ModelConfig

_GIGA = 1e9


def operations_per_token(config: ModelConfig) -> int:
    """Return the int8 operations of the ternary products; a multiplication and its addition are two."""
    return 2 * config.ternary_weights


def with_shares(speed: Speed, roof: Roof, *, bytes_per_step: int | None = None, operations: int | None = None) -> Speed:
    """Return a speed with its shares of a roof.

    Args:
        speed: The measured speed.
        roof: The limits of the machine with the same number of threads.
        bytes_per_step: Bytes that a decode step (one token for each sequence) must read from memory; None for no
            bandwidth share.
        operations: int8 operations per token; None for no int8 share.
    """
    bandwidth = int8 = None
    if bytes_per_step is not None:
        bandwidth = bytes_per_step * speed.tokens_per_s / speed.batch / (roof.read_gb_s.median * _GIGA)
    if operations is not None:
        int8 = operations * speed.tokens_per_s / (roof.int8_gops.median * _GIGA)
    return replace(speed, bytes_per_step=bytes_per_step, bandwidth_share=bandwidth, int8_share=int8)
