"""The native module, built from native/ by CMake; native/python/ binds it.

Arrays are C-contiguous. `isa` is one of `available_isas()`, or empty for the fastest. Wrong shapes raise ValueError,
wrong dtypes TypeError. A Linear, Table, Layer or Decoder keeps its arrays alive. A Decoder must not be used by two
threads at once; everything else may be called from any thread.
"""

from collections.abc import Sequence
from enum import Enum
from typing import overload

import numpy as np
from numpy.typing import NDArray

MAX_CANDIDATES: int
"""The largest number of candidates of a row that `Decoder.forward_candidates` returns."""

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
    @overload
    def __init__(
        self,
        packed: NDArray[np.uint8],
        scale: float,
        input_norm: NDArray[np.float32] | None,
        dense: tuple[int, int] | None = None,
    ) -> None:
        """A ternary matrix.

        Args:
            packed: The bytes: as in `weights.TernaryMatrix`, or in the dense form if `dense` is given.
            scale: The weight scale.
            input_norm: float32 [in]: the gain of a norm before the quantiser, or None.
            dense: The shape [out, in] of a matrix in the dense form.
        """

    @overload
    def __init__(
        self,
        *,
        packed: NDArray[np.uint8],
        out_features: int,
        in_features: int,
        group: int,
        input_norm: NDArray[np.float32] | None = None,
    ) -> None:
        """A ternary matrix with group scales; see `weights.GroupedMatrix`, whose blocks are `packed`."""

    def adapt(self, a: NDArray[np.float32], b: NDArray[np.float32], scaling: float) -> None:
        """Set the low-rank adapter of this linear; see `weights.LowRank`."""

class Table:
    @overload
    def __init__(self, grouped: Linear) -> None:
        """A ternary table: a matrix with group scales."""

    @overload
    def __init__(self, bytes: NDArray[np.uint8], file: int = -1, offset: int = 0) -> None:
        """A bfloat16 table.

        Args:
            bytes: [rows, 2 * columns].
            file: The descriptor of the mapped file that has the table, or -1. Single rows are then read from the file.
            offset: Bytes from the start of the file to the table.
        """

class Layer:
    def __init__(
        self,
        *,
        input_layernorm: NDArray[np.float32],
        post_attention_layernorm: NDArray[np.float32],
        attn_sub_norm: NDArray[np.float32] | None = None,
        ffn_sub_norm: NDArray[np.float32] | None = None,
        q_norm: NDArray[np.float32] | None = None,
        k_norm: NDArray[np.float32] | None = None,
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
    def replace_layer(self, index: int, layer: Layer) -> None:
        """Take the weights of a layer from another place or in another form; the values must be the same.

        Raises:
            ValueError: There is no such layer, or it has another shape or form than this decoder can read.
        """

    def allocate(self, num_blocks: int, block_size: int) -> None:
        """Reserve a KV cache; an earlier one is freed.

        Raises:
            DeviceError: There is not enough memory.
        """

    def forward(
        self,
        token_ids: NDArray[np.int32],
        starts: NDArray[np.int32],
        positions: NDArray[np.int32],
        block_tables: NDArray[np.int32],
        logit_rows: NDArray[np.int32],
        logits: NDArray[np.float32],
    ) -> None:
        """Run a step of a `backends.base.Batch`; write logits [rows, vocab].

        Raises:
            RequestError: The model cannot take the tokens.
            DeviceError: This process was forked after the decoder was made.
        """

    def forward_candidates(
        self,
        token_ids: NDArray[np.int32],
        starts: NDArray[np.int32],
        positions: NDArray[np.int32],
        block_tables: NDArray[np.int32],
        logit_rows: NDArray[np.int32],
        filter_counts: NDArray[np.int32],
        noises: NDArray[np.uint32],
        noise_scales: NDArray[np.float32],
        masks: NDArray[np.uint32],
        ids: NDArray[np.int32],
        logits: NDArray[np.float32],
        counts: NDArray[np.int32],
    ) -> None:
        """Run a step as `forward` does, but write only the logits that pass a filter.

        Args:
            token_ids: The field of a `backends.base.Batch`, as are the next four.
            starts: See `Batch`.
            positions: See `Batch`.
            block_tables: See `Batch`.
            logit_rows: See `Batch`.
            filter_counts: [rows], 1 to MAX_CANDIDATES. Ignored for a row with noise.
            noises: [rows, 4]: the words of `LogitFilter.noise`: the seed's low and high word, position, choice.
            noise_scales: [rows]: the factor of the noise; 0 means no noise.
            masks: [rows, words]: the tokens whose logits can pass, see `LogitFilter.allowed`. [0, 0] if all can.
            ids: Written, [rows, MAX_CANDIDATES]: each row's candidates, rising.
            logits: Written, [rows, MAX_CANDIDATES].
            counts: Written, [rows]: how many candidates a row has, or -1 if the whole row must be computed.

        Raises:
            RequestError: The model cannot take the tokens.
            DeviceError: There is no memory for the screen, or this process was forked after the decoder was made.
        """

    def forward_layers(
        self,
        token_ids: NDArray[np.int32],
        starts: NDArray[np.int32],
        positions: NDArray[np.int32],
        block_tables: NDArray[np.int32],
        logit_rows: NDArray[np.int32],
    ) -> None:
        """Run a step as `forward` does, but without the lm_head. The next three methods then compute logits.

        Raises:
            RequestError: The model cannot take the tokens.
            DeviceError: This process was forked after the decoder was made.
        """

    def candidates(
        self,
        filter_counts: NDArray[np.int32],
        noises: NDArray[np.uint32],
        noise_scales: NDArray[np.float32],
        masks: NDArray[np.uint32],
        ids: NDArray[np.int32],
        logits: NDArray[np.float32],
        counts: NDArray[np.int32],
    ) -> None:
        """Write the logits of all rows of the last step that pass a filter; arguments as in `forward_candidates`."""

    def listed(self, row: int, ids: NDArray[np.int32], logits: NDArray[np.float32]) -> None:
        """Compute the logits [n] of the tokens `ids` [n] for a row of the last step, and read only their weights."""

    def upper_bounds(self, row: int, bounds: NDArray[np.float32]) -> None:
        """Write an upper bound [vocab] of each logit of a row, if the filter of its last search had noise."""

    def whole_rows(self, first: int, logits: NDArray[np.float32]) -> None:
        """Compute all logits [n, vocab] of the rows from `first` on of the last step."""

    def hidden(self, states: NDArray[np.float32]) -> None:
        """Write the normed hidden states [rows, hidden] of the last step."""

    @property
    def head_bytes_read(self) -> int:
        """Bytes of the screen and of single tokens' weights that the last step read for the lm_head."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights; tied tables count once."""

    @property
    def file_bytes(self) -> int:
        """The part of `weight_bytes` that stays in its file."""

    @property
    def screen_bytes(self) -> int:
        """Bytes of the screen; 0 before the first `forward_candidates`."""

    @property
    def kv_cache_bytes(self) -> int:
        """Bytes of the KV cache once it is full."""

    @property
    def kv_bytes_per_position(self) -> int:
        """Bytes of one position in a KV cache, over all layers."""

    @property
    def logits_computed(self) -> int:
        """How many logits the last step computed from the lm_head's weights."""

    def start_profile(self) -> None:
        """Forget all times and start measuring."""

    def stop_profile(self) -> list[tuple[str, int, float, float, int]]:
        """Stop measuring; return rows of name, calls, seconds, seconds that a thread waited (mean), and bytes read."""

    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...

def packs_dense(isa: str) -> bool:
    """Return whether an instruction set can multiply by weights in the dense form: 5 bits for three weights."""

def dense_shape(out_features: int, in_features: int) -> tuple[int, int]:
    """Return the shape of the bytes of a matrix in the dense form."""

def pack_dense(packed: NDArray[np.uint8], dense: NDArray[np.uint8], isa: str) -> None:
    """Convert weights packed as in `weights.TernaryMatrix` to the dense form; `dense` is written, of `dense_shape`."""

def spread_memory(nodes: int) -> None:
    """Spread the KV caches and screens that are allocated later over these nodes of memory, given as bits.

    0, as at the start, leaves each page to the node of the thread that touches it first.
    """

def interleave_pages(memory: NDArray[np.uint8]) -> None:
    """Spread memory over the nodes of `spread_memory`. No page of it was touched yet, and it begins at a page.

    Does nothing if the process has a memory policy of its own (numactl), or the system refuses.
    """

def check_isa(isa: str) -> None:
    """Check that this processor can run an instruction set.

    Raises:
        DeviceError: It cannot; the message names those that it can run.
    """

def available_isas() -> list[str]:
    """Return the instruction sets that this processor can run, fastest first; `scalar` is always the last."""

def measure_read_bandwidth(threads: int, bytes: int, passes: int = 5) -> list[float]:
    """Return the bytes per second of each pass over `bytes` of memory, which should be much larger than the caches.

    Each thread reads one contiguous part in order. The memory is in huge pages if the system has them.

    Raises:
        DeviceError: There is not enough memory.
    """

def measure_int8_peak(threads: int, isa: str, seconds: float = 0.2, passes: int = 5) -> list[float]:
    """Return the int8 operations per second of each pass of about `seconds`; a multiply-add counts as two."""

def quantize(x: NDArray[np.float32], isa: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantise rows x [tokens, in] as docs/numerics.md says.

    Returns:
        Values [tokens, in rounded up to a multiple of 64], padded with zeros, and scales [tokens].
    """

def bit_linear(linear: Linear, x: NDArray[np.float32], isa: str) -> NDArray[np.float32]:
    """Quantise rows x [tokens, in] and multiply them by `linear` without its input norm; return [tokens, out]."""

def count_codes(packed: NDArray[np.uint8], threads: int) -> tuple[int, int, int, int]:
    """Count the codes in bytes [n] of four 2-bit codes each.

    Returns:
        How often the invalid code 3 occurs (0 if never, at least 1 otherwise), then -1, 0 and +1. The last three mean
        nothing if the first is not 0.
    """

def all_finite(bfloat16: NDArray[np.uint8], threads: int) -> bool:
    """Return whether no value is NaN or infinite; `bfloat16` has the bytes [2 * n] of n values."""

class BackgroundChecks:
    """`count_codes` and `all_finite` for many arrays, by threads that start at once. Its end stops them."""

    def __init__(
        self, packed: Sequence[NDArray[np.uint8]], bfloat16: Sequence[NDArray[np.uint8]], threads: int
    ) -> None: ...
    @property
    def done_bytes(self) -> int:
        """The bytes that are checked so far."""

    def wait(self, seconds: float) -> bool:
        """Wait until all is checked, for so long at most. Return whether it is."""

    def results(self) -> tuple[list[tuple[int, int, int, int]], list[bool]]:
        """Wait, and return what `count_codes` and `all_finite` return for each array.

        Raises:
            DeviceError: The system refuses the threads.
        """
