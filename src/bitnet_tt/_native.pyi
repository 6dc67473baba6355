"""The native module, built from native/ by CMake. Arrays are C-contiguous."""

from collections.abc import Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

MOST_CANDIDATES: int

class HiddenAct(Enum):
    relu2 = 0
    silu = 1

class Shape:
    def __init__(
        self,
        *,
        vocab: int,
        hidden: int,
        intermediate: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        norm_eps: float,
        input_norm_eps: float,
        act: HiddenAct,
    ) -> None: ...

class Linear:
    def __init__(
        self,
        packed: NDArray[np.uint8],
        scale: float,
        input_norm: NDArray[np.float32] | None,
        dense: tuple[int, int] | None = None,
    ) -> None:
        """`packed` is as in `weights.TernaryMatrix`, or the dense form of a matrix of the shape `dense`."""

class Table:
    def __init__(self, bytes: NDArray[np.uint8], file: int = -1, offset: int = 0) -> None:
        """Rows of bfloat16, [rows, 2 * columns]; those of a mapped file are read from it: its descriptor, and where."""

class Layer:
    def __init__(
        self,
        *,
        input_layernorm: NDArray[np.float32],
        post_attention_layernorm: NDArray[np.float32],
        attn_sub_norm: NDArray[np.float32] | None = None,
        ffn_sub_norm: NDArray[np.float32] | None = None,
        q_proj: Linear,
        k_proj: Linear,
        v_proj: Linear,
        o_proj: Linear,
        gate_proj: Linear,
        up_proj: Linear,
        down_proj: Linear,
    ) -> None: ...

class Decoder:
    def __init__(
        self,
        *,
        shape: Shape,
        embedding: Table,
        layers: Sequence[Layer],
        norm: NDArray[np.float32],
        head: Table,
        cos: NDArray[np.float32],
        sin: NDArray[np.float32],
        threads: int,
        thread_work: int,
        isa: str,
    ) -> None: ...
    def allocate(self, num_blocks: int, block_size: int) -> None: ...
    def forward(
        self,
        token_ids: NDArray[np.int32],
        starts: NDArray[np.int32],
        positions: NDArray[np.int32],
        block_tables: NDArray[np.int32],
        logit_rows: NDArray[np.int32],
        logits: NDArray[np.float32],
    ) -> None: ...
    def forward_greatest(
        self,
        token_ids: NDArray[np.int32],
        starts: NDArray[np.int32],
        positions: NDArray[np.int32],
        block_tables: NDArray[np.int32],
        logit_rows: NDArray[np.int32],
        cut_counts: NDArray[np.int32],
        cut_margins: NDArray[np.float32],
        cut_temperatures: NDArray[np.float32],
        ids: NDArray[np.int32],
        logits: NDArray[np.float32],
        counts: NDArray[np.int32],
        rests: NDArray[np.float32],
    ) -> None: ...
    def whole_row(self, row: int, logits: NDArray[np.float32]) -> None: ...
    @property
    def head_bytes_read(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def file_bytes(self) -> int: ...
    @property
    def screen_bytes(self) -> int: ...
    @property
    def kv_cache_bytes(self) -> int: ...
    @property
    def logits_computed(self) -> int: ...
    def start_profile(self) -> None: ...
    def stop_profile(self) -> list[tuple[str, int, float, float, int]]:
        """Rows of name, calls, seconds, seconds of waiting (the mean of the threads) and bytes read."""

    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...

def packs_dense(isa: str) -> bool:
    """Whether an instruction set, empty for the fastest, multiplies with dense weights: 5 bits for three of them."""

def dense_shape(out_features: int, in_features: int) -> tuple[int, int]:
    """Shape of the bytes of dense weights."""

def pack_dense(packed: NDArray[np.uint8], dense: NDArray[np.uint8], isa: str) -> None:
    """Write weights packed as in `weights.TernaryMatrix` to `dense`, of `dense_shape`, in their dense form."""

def available_isas() -> list[str]: ...
def measure_read_bandwidth(threads: int, bytes: int, passes: int = 5) -> list[float]:
    """Bytes a second of each pass over `bytes` of memory, which should be well beyond the caches.

    Each of the threads reads one stretch of it in order, prefetching; huge pages are asked for.
    """

def measure_int8_peak(threads: int, isa: str, seconds: float = 0.2, passes: int = 5) -> list[float]:
    """Operations a second of each pass of about `seconds`; a multiplication and its addition are two.

    `isa` is one of `available_isas()`, or empty for the fastest.
    """

def quantize(x: NDArray[np.float32], isa: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]: ...
def bit_linear(linear: Linear, x: NDArray[np.float32], isa: str) -> NDArray[np.float32]: ...
def count_codes(packed: NDArray[np.uint8], threads: int) -> tuple[int, int, int, int]:
    """How often the code 3 (at least 1 if ever), -1, 0 and +1 occur in bytes [n] of four codes each."""

def all_finite(bfloat16: NDArray[np.uint8], threads: int) -> bool:
    """Whether no bfloat16 value, given as bytes [2 * n], is NaN or infinite."""
