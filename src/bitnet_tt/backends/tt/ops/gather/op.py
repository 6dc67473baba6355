"""Make rows whole of which each of two cards has some columns: each sends its own to the other, by two links.

Both cards launch the same gathers in the same order. A card sends its columns at once, waits for those of the other,
and writes both to the result. It is one program on each card. No number is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.ops.common.link import Link, address, packet_buffers, packet_constants
from bitnet_tt.backends.tt.ops.common.program import Kernel, launch
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.planning.exchange import Exchange, page_exchange, strip_exchange, tile_exchange


@dataclass(frozen=True, slots=True)
class Pair:
    """The links between two cards, as one of them sees them.

    Attributes:
        out: To the other card.
        back: From the other card.
    """

    out: Link
    back: Link

    @classmethod
    def between(cls, cards: Sequence[Card], pages: Sequence[int]) -> tuple[Self, Self]:
        """Connect two cards.

        Args:
            cards: The cards.
            pages: Pages of each card's landing, of `LANDING_PAGE_BYTES`.
        """
        one, other = cards
        there, back = Link.between(one, other, pages[1]), Link.between(other, one, pages[0])
        return cls(there, back), cls(back, there)


def gather_strips(pair: Pair, own: Strips, columns: range, features: int) -> Strips:
    """Return whole rows in strips.

    Args:
        pair: The links.
        own: The card's columns of the rows.
        columns: Which columns these are. The other card has all others.
        features: Elements of a whole row.
    """
    whole = Strips.empty(own.tensor.device(), own.rows, features, own.tensor.memory_config(), own.lines)
    cuts = strip_exchange(own.rows, own.lines, _cut(columns), features)
    _gather(pair, own.tensor, whole.tensor, cuts, _place(columns))
    return whole


def gather_tiles(pair: Pair, own: ttnn.Tensor, columns: range, features: int) -> ttnn.Tensor:
    """Return whole rows in tiles, float32 [1, 1, rows, features]; `gather_strips` has the arguments."""
    rows = own.shape[2]
    whole = ttnn.empty(
        [1, 1, rows, features],
        dtype=ttnn.float32,
        layout=ttnn.TILE_LAYOUT,
        device=own.device(),
        memory_config=own.memory_config(),
    )
    _gather(pair, own, whole, tile_exchange(rows, _cut(columns), features), _place(columns))
    return whole


def gather_pages(pair: Pair, own: ttnn.Tensor, pages: range, count: int) -> ttnn.Tensor:
    """Return all pages of a row-major tensor [count, n], of which the card has some."""
    whole = ttnn.empty([count, own.shape[1]], dtype=own.dtype, layout=ttnn.ROW_MAJOR_LAYOUT, device=own.device())
    _gather(pair, own, whole, page_exchange(own.buffer_page_size(), _cut(pages), count), _place(pages))
    return whole


def _place(columns: range) -> int:
    """Return the place of the card that has these columns."""
    return 0 if columns.start == 0 else 1


def _cut(columns: range) -> int:
    """Return the first column of the second card."""
    return columns.start or columns.stop


def _gather(pair: Pair, own: ttnn.Tensor, whole: ttnn.Tensor, cuts: Exchange, place: int) -> None:
    """Launch the program of the card at a place: from its own columns to the whole rows."""
    begins = 0, cuts.parts[0]
    constants = packet_constants(cuts.page_bytes, cuts.packet_bytes)
    # No constants: the kernels are the same for all rows and columns.
    shape = {"groups": cuts.groups, "own": cuts.parts[place], "other": cuts.parts[1 - place]}
    launch(
        reader=Kernel(
            "gather/gather_read.cpp",
            tensors={"own": own, "landing": pair.back.landing},
            constants=constants,
            arguments=shape | {"own_stride": cuts.strides[place], "ready": address(pair.back.ready)},
        ),
        writer=Kernel(
            "gather/gather_write.cpp",
            tensors={"result": whole},
            remote_tensors={"landing": pair.out.landing},
            constants=constants,
            arguments=shape
            | {
                "own_begin": begins[place],
                "other_begin": begins[1 - place],
                "stride": cuts.stride,
                "free": address(pair.out.free),
                "other_ready": address(pair.out.ready),
                "other_free": address(pair.back.free),
            },
            uses_fabric=True,
        ),
        buffers=packet_buffers(cuts.packet_bytes),
        route=pair.out.route,
    )
