"""From tokens a second to shares of what the machine allows."""

from __future__ import annotations

import math
from dataclasses import replace

from bitnet_tt.bench.report.results import Roof, Speed
from bitnet_tt.config import ModelConfig

_GIGA = 1e9


def ternary_weights(config: ModelConfig) -> int:
    """How many ternary weights a model has."""
    return config.num_hidden_layers * sum(math.prod(shape) for shape in config.linear_shapes.values())


def operations_per_token(config: ModelConfig) -> int:
    """int8 operations of the ternary products; a multiplication and its addition are two."""
    return 2 * ternary_weights(config)


def with_shares(speed: Speed, roof: Roof, *, bytes_per_step: int | None = None, operations: int | None = None) -> Speed:
    """Put a speed beside the roof of as many threads.

    Args:
        speed: What was measured.
        roof: What the machine allows.
        bytes_per_step: What a step of generation, one token for each sequence, has to read from memory.
        operations: int8 operations a token.
    """
    bandwidth = int8 = None
    if bytes_per_step is not None:
        bandwidth = bytes_per_step * speed.tokens_per_s / speed.batch / (roof.read_gb_s.median * _GIGA)
    if operations is not None:
        int8 = operations * speed.tokens_per_s / (roof.int8_gops.median * _GIGA)
    return replace(speed, bytes_per_step=bytes_per_step, bandwidth_share=bandwidth, int8_share=int8)
