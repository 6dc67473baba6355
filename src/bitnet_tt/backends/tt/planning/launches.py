"""The number of programs that a decode step launches, and the DRAM that its traces take."""

from __future__ import annotations

from bitnet_tt.config import ModelConfig

MAX_TRACES = 4
"""Maximum number of traces that are kept. Each takes DRAM, and an engine alternates between few shapes at a time."""

# tests/device/test_mock.py counts the launches in ttnn's mock mode and compares them with these.
_LAUNCHES_PER_LAYER = 10
_LAUNCHES_BESIDE_LAYERS = 5

_TRACE_BYTES_PER_LAUNCH = 64 << 10  # commands and run-time arguments for some hundred cores; an estimate, rather high


def decode_launches(config: ModelConfig) -> int:
    """Return the programs of a decode step that returns whole rows of logits.

    A step that finds the largest logits launches one program more. Linears with norms of their own (`use_rms_norm`)
    launch more; they are not counted.
    """
    return config.num_hidden_layers * _LAUNCHES_PER_LAYER + _LAUNCHES_BESIDE_LAYERS


def trace_region_bytes(config: ModelConfig) -> int:
    """Return the DRAM to reserve for traces."""
    return MAX_TRACES * decode_launches(config) * _TRACE_BYTES_PER_LAUNCH
