"""Continuous batching over a paged KV cache: requests become batches, logits become pieces of text."""

from bitnet_tt.engine.async_engine import AsyncEngine, AsyncStream
from bitnet_tt.engine.engine import Engine, EngineStats
from bitnet_tt.engine.request import Request
from bitnet_tt.engine.step import BLOCK_SIZE, Stepper

__all__ = ["BLOCK_SIZE", "AsyncEngine", "AsyncStream", "Engine", "EngineStats", "Request", "Stepper"]
