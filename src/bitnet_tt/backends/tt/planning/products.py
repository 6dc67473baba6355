"""The ternary products of a step of many rows, and how the cores share each of them."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_tt.backends.tt.planning.columns import Columns, all_columns
from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, BFP4_TILE_BYTES, FLOAT32_BYTES, TILE, Grid
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError

FUSED_LINEARS = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "o": ("o_proj",),
    "gate_up": ("gate_proj", "up_proj"),
    "down": ("down_proj",),
}
"""The four products of a layer. Linears that read the same input are one product, their outputs side by side."""

_MAX_K_BLOCK = 8  # tiles of k that a core holds at a time
_DEST_TILES = 4  # float32 tiles in one half of the Dest register, while the packer empties the other half
_SHARE_OF_L1 = 0.75  # of a core's L1, for the buffers of one program; the rest is for small tensors that stay in L1


@dataclass(frozen=True, slots=True)
class Product:
    """One matrix product: activations [rows, k] times weights [k, n] to float32 [rows, n].

    The activations are integers in bfloat16, the weights are in bfp4.

    Each core computes `per_core_n` columns of tiles of the result. It reads the weights of these columns from DRAM. The
    activations are multicast to all cores, `k_block` columns of tiles at a time.

    Attributes:
        name: A key of `FUSED_LINEARS`.
        rows: Rows of the activations, in tiles.
        k: Columns of the activations, in tiles.
        n: Columns of the result, in tiles.
        per_core_n: Columns of the result that one core computes, in tiles.
        k_block: Columns of activations that a core holds at a time, in tiles.
        subblock: Rows and columns of the result that are in the Dest register together, in tiles.
    """

    name: str
    rows: int
    k: int
    n: int
    per_core_n: int
    k_block: int
    subblock: tuple[int, int]

    @property
    def cores(self) -> int:
        """Number of cores that have work."""
        return -(-self.n // self.per_core_n)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that are read from DRAM."""
        return self.k * self.n * BFP4_TILE_BYTES

    @property
    def l1_bytes(self) -> int:
        """L1 of one core for the circular buffers of this product."""
        return _buffer_bytes(self.rows, self.k, self.per_core_n, self.k_block)

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.rows * self.k * self.n * TILE**3


def fused_shape(config: ModelConfig, name: str, columns: Columns | None = None) -> tuple[int, int]:
    """Return [in, out] of a product of `FUSED_LINEARS`, in elements; of some of its columns, if they are given."""
    columns, linears = columns or all_columns(config), FUSED_LINEARS[name]
    _, in_features = config.linear_shapes[linears[0]]
    return in_features, sum(len(columns.of(linear)) for linear in linears)


def share_product(grid: Grid, name: str, rows: int, k: int, n: int) -> Product:
    """Share a product [rows, k] times [k, n] among the cores of a grid.

    Args:
        grid: The cores.
        name: The product's name.
        rows: Rows of the activations, in elements; so are k and n.
        k: Columns of the activations.
        n: Columns of the result.

    Raises:
        DeviceError: The buffers do not fit into L1 even with the smallest `k_block`.
    """
    row_tiles, k_tiles, n_tiles = (-(-size // TILE) for size in (rows, k, n))
    per_core_n = -(-n_tiles // grid.cores)
    budget = int(grid.l1_bytes * _SHARE_OF_L1)
    for k_block in (block for block in range(min(_MAX_K_BLOCK, k_tiles), 0, -1) if k_tiles % block == 0):
        if _buffer_bytes(row_tiles, k_tiles, per_core_n, k_block) <= budget:
            break
    else:
        raise DeviceError(
            f"{name} needs more than the {budget} bytes of L1 that one program may use on a core; use device='cpu', "
            f"or a card with more than {grid.cores} cores"
        )
    width = subblock_width(per_core_n)
    height = max(size for size in range(1, _DEST_TILES // width + 1) if row_tiles % size == 0)
    return Product(
        name,
        row_tiles,
        k_tiles,
        n_tiles,
        per_core_n,
        k_block,
        # The packer stores a subblock in order only if it is as wide as the core's part, or one tile high.
        (height if width == per_core_n else 1, width),
    )


def subblock_width(columns: int) -> int:
    """Return how many of `columns` tiles in a row are computed together: the largest divisor that fits into Dest."""
    return max(size for size in range(1, _DEST_TILES + 1) if columns % size == 0)


def _buffer_bytes(rows: int, k: int, per_core_n: int, k_block: int) -> int:
    """Return the L1 of one core's circular buffers; sizes in tiles.

    Each operand has two blocks, one in use and one arriving, unless one block is all of k. The result has one buffer.
    """
    blocks = min(2, k // k_block)
    activations = blocks * rows * k_block * TILE * TILE * BFLOAT16_BYTES
    weights = blocks * k_block * per_core_n * BFP4_TILE_BYTES
    return activations + weights + rows * per_core_n * TILE * TILE * FLOAT32_BYTES
