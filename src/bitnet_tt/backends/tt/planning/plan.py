"""The plan: every shape, layout and byte on the card, computed from the model and the device's grid. Pure Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from bitnet_tt.backends.base import LogitFilter
from bitnet_tt.backends.options import Precision
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

TILE = 32
"""Rows and columns of a tile, the unit of every matrix on the card; a cache block is one tile high."""

FLOAT32, UINT32, BFLOAT16 = 4, 4, 2
BFP8_TILE, BFP4_TILE = 1088, 576
"""Bytes of a block float tile: 64 shared exponents, then 1024 mantissas of 8 or 4 bits."""

DECODE_ROWS = TILE
"""Most sequences of a decode step, and rows of a pass through the head: a tile of rows costs no more than one."""

KEY_CHUNK = 4 * TILE
"""Positions attention takes at a time. Contexts are padded to it, and by one chunk more, see `Plan.context_blocks`."""

_PREFILL_ROWS: dict[Precision, int] = {"exact": 4 * TILE, "fast": 16 * TILE}
_DEST_TILES = 4  # float32 tiles the Dest register holds while the packer empties its other half
_SHARE_OF_L1 = 0.75  # what one program's buffers may take of it; the rest is for small tensors that live there
_FEW_TOP, _MOST_TOP = 8, 64  # greatest logits a core looks for, by insertion: where no count is given, and at most
_PAGE_ALIGNMENT = 64  # of DRAM
_SPARE_DRAM = 0.1  # of all, for activations and for what the runtime itself puts there


@dataclass(frozen=True, slots=True)
class Grid:
    """What a program sees of a card.

    Attributes:
        x: Columns of worker cores.
        y: Rows of worker cores.
        l1_bytes: L1 memory of one core that programs may use.
        dram_bytes: DRAM of the card.
        dram_banks: Banks it is made of; a tensor's tiles go round them.
    """

    x: int
    y: int
    l1_bytes: int
    dram_bytes: int
    dram_banks: int

    @property
    def cores(self) -> int:
        """Worker cores."""
        return self.x * self.y


@dataclass(frozen=True, slots=True)
class Product:
    """One matrix product, activations [rows, k] times weights [k, n] to float32, and how cores share it.

    Each core makes `per_core_n` columns of tiles of the result; activations are multicast to all, `k_block` columns at
    a time. Sizes are in tiles but for the bytes.
    """

    name: str
    rows: int
    k: int
    n: int
    per_core_n: int
    k_block: int
    subblock: tuple[int, int]
    activation_bytes: int
    weight_tile_bytes: int

    @property
    def cores(self) -> int:
        """Cores with work."""
        return -(-self.n // self.per_core_n)

    @property
    def weight_bytes(self) -> int:
        """Weights read from DRAM."""
        return self.k * self.n * self.weight_tile_bytes

    @property
    def l1_bytes(self) -> int:
        """Circular buffers of one core: two blocks of either operand, if there are two, and the result."""
        return _product_l1(
            self.rows, self.k, self.per_core_n, self.k_block, self.activation_bytes, self.weight_tile_bytes
        )

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.rows * self.k * self.n * TILE**3


@dataclass(frozen=True, slots=True)
class Want:
    """What the host wants of rows of logits.

    Attributes:
        count: The greatest so many in each part of the vocabulary; None if the device is to look for none.
        whole: Whether to keep the whole rows, to be read if these are not enough.
    """

    count: int | None
    whole: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """How one model lies on one card.

    Attributes:
        config: The model.
        grid: The card.
        precision: `exact` or `fast`.
        context_length: Longest sequence.
    """

    config: ModelConfig
    grid: Grid
    precision: Precision
    context_length: int

    def __post_init__(self) -> None:
        """Check that the model's shape can be laid out in tiles.

        Raises:
            DeviceError: It cannot; the message names the dimension.
        """
        config = self.config
        if self.precision not in PRECISIONS:
            raise DeviceError(f"unknown precision {self.precision!r}; known: {', '.join(PRECISIONS)}")
        for name, size, unit in (
            ("hidden_size", config.hidden_size, TILE),
            ("intermediate_size", config.intermediate_size, TILE),
            ("head_dim", config.head_dim, 2 * TILE),
        ):
            if size % unit:
                raise DeviceError(
                    f"{name} is {size}; the Tenstorrent backend needs a multiple of {unit}: use device='cpu'"
                )

    @property
    def query_width(self) -> int:
        """Columns of all query heads."""
        return self.config.num_attention_heads * self.config.head_dim

    @property
    def key_width(self) -> int:
        """Columns of all key heads, and of all value heads."""
        return self.config.num_key_value_heads * self.config.head_dim

    @property
    def cache_bytes(self) -> int:
        """Bytes of an element of the cache: float32 in `exact`, bfloat16 in `fast`."""
        return FLOAT32 if self.precision == "exact" else BFLOAT16

    @property
    def head_tile_bytes(self) -> int:
        """Bytes of a tile of the lm_head: bfloat16 in `exact`, bfp8 in `fast`. In bfp4 it would cost many tokens."""
        return TILE * TILE * BFLOAT16 if self.precision == "exact" else BFP8_TILE

    @property
    def prefill_rows(self) -> int:
        """Most tokens of one sequence in one step."""
        return _PREFILL_ROWS[self.precision]

    def prefill_bucket(self, tokens: int) -> int:
        """Rows a chunk of a prompt is padded to; few sizes, since the device keeps a program for each."""
        return min(_round_up_to_power(-(-tokens // TILE)) * TILE, self.prefill_rows)

    def decode_bucket(self, sequences: int) -> int:
        """Sequences a decode step is padded to."""
        return min(_round_up_to_power(sequences), DECODE_ROWS)

    def context_blocks(self, end: int) -> int:
        """Cache blocks that attention over positions below `end` reads, a multiple of the chunk; about four an octave.

        At least one whole chunk is masked: the attention operation rounds its running sums once more on meeting the
        first such chunk and never again, so this alone makes a row's result independent of how much padding there is.
        """
        chunks = -(-end // KEY_CHUNK) + 1
        step = max(1, (1 << (chunks.bit_length() - 1)) // 4)
        return -(-chunks // step) * step * KEY_CHUNK // TILE

    @property
    def decode_table(self) -> tuple[int, int]:
        """Rows and columns of the largest block table of a decode step."""
        return DECODE_ROWS, self.context_blocks(self.context_length)

    @property
    def vocabulary_parts(self) -> tuple[int, int]:
        """Parts the vocabulary is searched in, one a core, and tiles of each."""
        tiles = -(-self.config.vocab_size // TILE)
        each = -(-tiles // self.grid.cores)
        return -(-tiles // each), each

    def want(self, filters: Sequence[LogitFilter], *, kept: bool) -> Want:
        """What the device is to find, for rows of which so much is wanted.

        Args:
            filters: Of each row.
            kept: Whether whole rows can be read until the backend's next call.
        """
        unsure = any(limit.count is None or limit.mass_temperature > 0 for limit in filters)
        if any(limit.passes_all for limit in filters) or (unsure and not kept):
            return Want(None, whole=True)
        most = max((limit.count or _FEW_TOP for limit in filters), default=1)
        # Of few sizes, since the device keeps a program for each.
        size = 1 if most == 1 else max(_FEW_TOP, _round_up_to_power(most))
        parts, _ = self.vocabulary_parts
        if size > _MOST_TOP or 2 * parts * size >= self.config.vocab_size:  # to move whole rows is less
            return Want(None, whole=True)
        return Want(size, whole=unsure)

    def product(self, name: str, rows: int, k: int, n: int, activation_bytes: int, weight_tile_bytes: int) -> Product:
        """Share a product of the given sizes, in elements, among the cores.

        Raises:
            DeviceError: Not even the smallest blocks fit L1.
        """
        row_tiles, k_tiles, n_tiles = (-(-size // TILE) for size in (rows, k, n))
        per_core_n = -(-n_tiles // self.grid.cores)
        budget = int(self.grid.l1_bytes * _SHARE_OF_L1)
        for k_block in (block for block in range(min(8, k_tiles), 0, -1) if k_tiles % block == 0):
            if _product_l1(row_tiles, k_tiles, per_core_n, k_block, activation_bytes, weight_tile_bytes) <= budget:
                break
        else:
            raise DeviceError(
                f"{name} needs more than the {budget} bytes of L1 it may have on a core; use device='cpu', or a card "
                f"with more cores than {self.grid.cores}"
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
            activation_bytes,
            weight_tile_bytes,
        )

    def linear(self, name: str, rows: int, k: int, n: int) -> Product:
        """A BitLinear: integers in bfloat16 times ternary weights in bfp4."""
        return self.product(name, rows, k, n, BFLOAT16, BFP4_TILE)

    def head(self) -> Product:
        """The lm_head on one tile of rows."""
        config = self.config
        activation = FLOAT32 if self.precision == "exact" else BFLOAT16
        return self.product(
            "lm_head", DECODE_ROWS, config.hidden_size, config.vocab_size, activation, self.head_tile_bytes
        )

    def layer_products(self, rows: int) -> Iterator[Product]:
        """The four products of a layer."""
        config = self.config
        yield self.linear("qkv", rows, config.hidden_size, self.query_width + 2 * self.key_width)
        yield self.linear("o", rows, self.query_width, config.hidden_size)
        yield self.linear("gate_up", rows, config.hidden_size, 2 * config.intermediate_size)
        yield self.linear("down", rows, config.intermediate_size, config.hidden_size)

    def weight_bytes(self) -> int:
        """DRAM that the weights take: ternary tiles, lm_head, embedding rows, gains, scales, angles, step inputs."""
        config = self.config
        products = list(self.layer_products(DECODE_ROWS))
        norms = [config.hidden_size] * 2
        if config.sub_norms:
            norms += [self.query_width, config.intermediate_size]
        layer = sum(self._stored(product.k * product.n, product.weight_tile_bytes) for product in products)
        # The scales of q, k and v are as wide as they are.
        layer += sum(self._row_bytes(width) for width in [*norms, products[0].n * TILE])
        head = self.head()
        table_rows, table_columns = self.decode_table
        return (
            config.num_hidden_layers * layer
            + self._stored(head.k * head.n, head.weight_tile_bytes)
            + self._stored(config.vocab_size, config.hidden_size * BFLOAT16)
            + self._row_bytes(config.hidden_size)
            # The rows whose logits are wanted, see `Head`.
            + self._stored(config.hidden_size // TILE, TILE * TILE * FLOAT32)
            # Cosines and sines of all positions; ids, positions and slots of a decode step, and its block table.
            + 2 * self._stored(self.context_length, config.head_dim * FLOAT32)
            + 3 * self._stored(1, DECODE_ROWS * UINT32)
            + self._stored(table_rows, table_columns * UINT32)
        )

    def kv_bytes(self, num_blocks: int) -> int:
        """DRAM of a cache of `num_blocks` blocks."""
        tiles = num_blocks * self.key_width // TILE
        return 2 * self.config.num_hidden_layers * self._stored(tiles, TILE * TILE * self.cache_bytes)

    def _row_bytes(self, width: int) -> int:
        """DRAM of a row of float32: one page, padded to whole tiles."""
        return self._stored(1, -(-width // TILE**2) * TILE**2 * FLOAT32)

    def _stored(self, pages: int, page_bytes: int) -> int:
        """DRAM of a tensor of so many pages: the same in every bank, however few it has."""
        aligned = -(-page_bytes // _PAGE_ALIGNMENT) * _PAGE_ALIGNMENT
        return -(-pages // self.grid.dram_banks) * self.grid.dram_banks * aligned

    def check_dram(self, num_blocks: int) -> None:
        """Refuse a cache that does not fit beside the weights.

        Raises:
            DeviceError: The message says how much there is and what to change.
        """
        room = int(self.grid.dram_bytes * (1 - _SPARE_DRAM)) - self.weight_bytes()
        if room < 0:
            raise DeviceError(
                f"the weights take {_gib(self.weight_bytes())}, the card has {_gib(self.grid.dram_bytes)}: "
                "use a smaller model, or device='cpu'"
            )
        if self.kv_bytes(num_blocks) > room:
            raise DeviceError(
                f"a key/value cache of {num_blocks * TILE} positions takes {_gib(self.kv_bytes(num_blocks))}, but "
                f"beside the weights the card has {_gib(room)}, which is {room // self.kv_bytes(1) * TILE} positions: "
                "ask for a smaller context_length or max_batch_size"
            )


def subblock_width(columns: int) -> int:
    """Tiles of a row that are computed at once, of so many: the most that fit Dest and divide them."""
    return max(size for size in range(1, _DEST_TILES + 1) if columns % size == 0)


def _product_l1(rows: int, k: int, per_core_n: int, k_block: int, activation_bytes: int, weight_tile_bytes: int) -> int:
    blocks = min(2, k // k_block)
    activations = blocks * rows * k_block * TILE * TILE * activation_bytes
    weights = blocks * k_block * per_core_n * weight_tile_bytes
    return activations + weights + rows * per_core_n * TILE * TILE * FLOAT32


def _round_up_to_power(value: int) -> int:
    return 1 << (value - 1).bit_length()


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
