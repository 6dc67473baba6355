"""What the memory of a process that ran a model is made of."""

from __future__ import annotations

from bitnet_tt.backends.base import Backend
from bitnet_tt.backends.cpu import CPUBackend
from bitnet_tt.bench.memory import peak_rss_bytes
from bitnet_tt.bench.results import Memory
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import ModelConfig

_FLOAT32 = 4


def resident(backend: Backend, checkpoint: Checkpoint, *, positions: int, interpreter_bytes: int) -> Memory:
    """This process's memory so far.

    Args:
        backend: What ran the model.
        checkpoint: The model's files.
        positions: Of the key/value cache.
        interpreter_bytes: What was resident before the model was opened.
    """
    config, on_cpu = checkpoint.config, isinstance(backend, CPUBackend)
    screened = isinstance(backend, CPUBackend) and backend.head_bytes_read > 0
    return Memory(
        peak_rss_bytes=peak_rss_bytes(),
        weight_bytes=sum(file.size for file in checkpoint.files),
        screen_bytes=screen_bytes(config) * screened if on_cpu else None,
        kv_cache_bytes=kv_cache_bytes(config, positions) if on_cpu else None,
        interpreter_bytes=interpreter_bytes,
    )


def screen_bytes(config: ModelConfig) -> int:
    """The CPU backend's screen of the lm_head: 6 bits a weight and 4 bounds a row, by four rows (native/screen.hpp)."""
    return -(-config.vocab_size // 4) * (3 * config.hidden_size + 4 * 4 * _FLOAT32)


def kv_cache_bytes(config: ModelConfig, positions: int) -> int:
    """The CPU backend's keys and values: float32, each head padded to whole vectors of 16 (native/kv_cache.hpp)."""
    head = -(-config.head_dim // 16) * 16
    return positions * config.num_hidden_layers * 2 * config.num_key_value_heads * head * _FLOAT32
