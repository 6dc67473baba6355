"""Continuous batching over a paged KV cache: requests become batches, logits become tokens."""

from bitnet_tt.engine.engine import BLOCK_SIZE, Engine, EngineStats
from bitnet_tt.engine.request import FinishReason, Request, TokenOutput

__all__ = ["BLOCK_SIZE", "Engine", "EngineStats", "FinishReason", "Request", "TokenOutput"]
