"""Plan: the shapes of one model on one card, computed from the model's config and the card's grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import LogitFilter
from bitnet_tt.backends.options import Precision, TernaryTiles
from bitnet_tt.backends.tt.planning.attention import PART_BLOCKS, parts_of
from bitnet_tt.backends.tt.planning.columns import Columns, all_columns
from bitnet_tt.backends.tt.planning.grid import (
    BFLOAT16_BYTES,
    BFP8_TILE_BYTES,
    TERNARY_TILE_BYTES,
    TILE,
    Grid,
)
from bitnet_tt.backends.tt.planning.products import FUSED_LINEARS, Product, fused_shape, share_product
from bitnet_tt.backends.tt.planning.streams import Streams, deal
from bitnet_tt.backends.tt.planning.supported import check_supported
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

DECODE_ROWS = TILE
"""Maximum sequences of a decode step, and rows of one pass through the lm_head."""

_LINES = (1, 4, 8)  # rows that the programs for few rows compute together

FEW_ROWS = _LINES[-1]
"""Maximum rows of the programs for few rows."""

PREFILL_ROWS = 16 * TILE
"""Maximum tokens of one sequence in one prefill step."""

_DEFAULT_TOP_COUNT = 8  # logits that the device finds in each part of the vocabulary, if a filter gives no count

MAX_TOP_COUNT = 64
"""Maximum number of such logits. The device inserts each into a sorted list, so large numbers are slow."""


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """The logits that the lm_head leaves for the host.

    Attributes:
        top_count: For each row, the device finds this many of the largest logits in each part of the vocabulary. None
            if it finds none.
        whole_rows: Whether the whole rows of logits stay on the device, for the host to read.
    """

    top_count: int | None
    whole_rows: bool

    @property
    def finds_tokens(self) -> bool:
        """Whether the host needs only the most probable token of each row."""
        return self.top_count == 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The shapes of one model on one card.

    Attributes:
        config: The model.
        grid: The card.
        precision: `exact` or `fast`.
        context_length: Maximum positions of one sequence.
        ternary_tiles: The form of ternary weights in DRAM, a key of `TERNARY_TILE_BYTES`.
        columns: The columns of the matrices that the card has. None means all.
    """

    config: ModelConfig
    grid: Grid
    precision: Precision
    context_length: int
    ternary_tiles: TernaryTiles = "codes"
    columns: Columns | None = None

    def __post_init__(self) -> None:
        """Check the model and the settings.

        Raises:
            DeviceError: The card does not run the model, see `check_supported`, or a setting is unknown.
        """
        config = self.config
        if self.precision not in PRECISIONS:
            raise DeviceError(f"unknown precision {self.precision!r}; known: {', '.join(PRECISIONS)}")
        if self.ternary_tiles not in TERNARY_TILE_BYTES:
            raise DeviceError(f"unknown ternary_tiles {self.ternary_tiles!r}; known: {', '.join(TERNARY_TILE_BYTES)}")
        check_supported(config)

    @property
    def own(self) -> Columns:
        """The columns of the matrices that the card has."""
        return self.columns or all_columns(self.config)

    @property
    def lm_head_tile_bytes(self) -> int:
        """Bytes of one tile of the lm_head: bfloat16 in `exact`, bfp8 in `fast`. bfp4 would change many tokens."""
        return TILE * TILE * BFLOAT16_BYTES if self.precision == "exact" else BFP8_TILE_BYTES

    def prefill_bucket(self, tokens: int) -> int:
        """Return the rows that a chunk of a prompt is padded to. Sizes are few: the device keeps programs for each."""
        return min(_next_power_of_two(-(-tokens // TILE)) * TILE, PREFILL_ROWS)

    def decode_bucket(self, sequences: int) -> int:
        """Return the number of sequences that a decode step is padded to."""
        return min(self.lines(sequences) or _next_power_of_two(sequences), DECODE_ROWS)

    def lines(self, sequences: int) -> int | None:
        """Return the rows that the programs for few rows compute together, see `Strips`. None if the rows are many."""
        return next((lines for lines in _LINES if sequences <= lines), None)

    def context_blocks(self, end: int) -> int:
        """Return the columns of a block table for positions below `end`.

        It is whole parts of attention, and a power of two of them unless the context ends there. Sizes are few: the
        device records a trace for each. Attention reads only the blocks up to a row's own part.
        """
        return PART_BLOCKS * min(_next_power_of_two(parts_of(end)), parts_of(self.context_length))

    @property
    def decode_table(self) -> tuple[int, int]:
        """Rows and columns of the largest block table of a decode step."""
        return DECODE_ROWS, self.context_blocks(self.context_length)

    @property
    def packed_inputs(self) -> tuple[int, int]:
        """Rows and columns of the inputs of a decode step in one array, see `DecodeState.packed`."""
        rows, columns = self.decode_table
        return 3 + rows, max(rows, columns)

    @property
    def vocabulary_parts(self) -> tuple[int, int]:
        """Number of parts in which the vocabulary is searched, one a core of the lm_head, and tiles of each part."""
        streams = self.lm_head()
        return streams.cores, streams.passes * streams.columns

    @property
    def vocabulary_sizes(self) -> NDArray[np.intp]:
        """Number of tokens of each part of the vocabulary."""
        parts, tiles = self.vocabulary_parts
        return np.diff(np.minimum(np.arange(1, parts + 1) * tiles * TILE, len(self.own.vocabulary)), prepend=0)

    def head_output(self, filters: Sequence[LogitFilter], *, rows_stay: bool) -> HeadOutput:
        """Return what the lm_head leaves for the host, for rows with these filters.

        Args:
            filters: One for each row.
            rows_stay: Whether whole rows stay on the device until the backend's next call. Then the host can read them
                later, if the largest logits turn out to be too few.
        """
        may_need_rows = any(limit.noise is not None for limit in filters)
        if any(limit.count is None or limit.names_tokens for limit in filters) or (may_need_rows and not rows_stay):
            return HeadOutput(None, whole_rows=True)
        largest = max((limit.count or 1 for limit in filters), default=1)
        # Counts are few: the device keeps a program for each.
        count = 1 if largest == 1 and not may_need_rows else max(_DEFAULT_TOP_COUNT, _next_power_of_two(largest))
        parts, _ = self.vocabulary_parts
        # A logit that was found crosses the bus with its token id: two numbers. Whole rows may be less.
        if count > MAX_TOP_COUNT or 2 * parts * count >= self.config.vocab_size:
            return HeadOutput(None, whole_rows=True)
        return HeadOutput(count, whole_rows=may_need_rows)

    def streams(self, k: int, n: int, *, gated: bool) -> Streams:
        """Return how the ternary weights [k, n] are dealt out to the cores; sizes in elements.

        Args:
            k: Rows of the weights.
            n: Columns of the weights: with a gate, of gate and up together.
            gated: Whether the product is gate and up.
        """
        tile_bytes = TERNARY_TILE_BYTES[self.ternary_tiles]
        return deal(k // TILE, n // TILE // (2 if gated else 1), self.grid, gated=gated, tile_bytes=tile_bytes)

    def layer_streams(self) -> Iterator[tuple[str, Streams]]:
        """Yield the four products of a layer as streams of weights, with their names."""
        for name in FUSED_LINEARS:
            yield name, self.streams(*fused_shape(self.config, name, self.columns), gated=name == "gate_up")

    def linear(self, name: str, rows: int, k: int, n: int) -> Product:
        """Return the product of a BitLinear of many rows; sizes in elements."""
        return share_product(self.grid, name, rows, k, n)

    def layer_products(self, rows: int) -> Iterator[Product]:
        """Yield the four products of a layer, in the order in which it applies them."""
        for name in FUSED_LINEARS:
            yield self.linear(name, rows, *fused_shape(self.config, name, self.columns))

    def lm_head(self) -> Streams:
        """Return how the lm_head is dealt out to the cores."""
        depth, columns = self.config.hidden_size // TILE, -(-len(self.own.vocabulary) // TILE)
        return deal(depth, columns, self.grid, gated=False, tile_bytes=self.lm_head_tile_bytes)


def _next_power_of_two(value: int) -> int:
    return 1 << (value - 1).bit_length()
