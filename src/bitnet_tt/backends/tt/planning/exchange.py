"""The exchanges of two cards that share every matrix: how columns lie in packets, and which exchanges a step has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bitnet_tt.backends.tt.planning.columns import share_columns
from bitnet_tt.backends.tt.planning.grid import FLOAT32_BYTES, STRIP, TILE, UINT32_BYTES
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.config import ModelConfig

PACKET_BYTES = 4096
"""Payload of a packet between cards. The fabric's packets carry at most 4352 bytes."""

_PAGE_ALIGNMENT = 64  # bytes


@dataclass(frozen=True, slots=True)
class Exchange:
    """Rows of pages of which one card has the first columns and another card the others. Sizes are in packets.

    The rows are groups of pages. In a group, columns follow each other from page to page; its last page may be padded.

    Attributes:
        groups: Groups of pages.
        page_bytes: Bytes of a page.
        packet_bytes: Bytes of a packet, a divisor of a page.
        parts: Packets of a group that each card has. Padding is not sent.
        strides: From group to group in each card's own tensor.
        stride: From group to group in the whole rows.
    """

    groups: int
    page_bytes: int
    packet_bytes: int
    parts: tuple[int, int]
    strides: tuple[int, int]
    stride: int

    @property
    def in_a_page(self) -> int:
        """Packets of a page."""
        return self.page_bytes // self.packet_bytes

    @property
    def packets(self) -> int:
        """Packets that the card with the larger part sends."""
        return self.groups * max(self.parts)


def exchange(groups: int, page_bytes: int, cut_bytes: int, whole_bytes: int) -> Exchange:
    """Cut rows into the largest packets that keep each card's columns apart.

    Args:
        groups: Groups of pages.
        page_bytes: Bytes of a page.
        cut_bytes: Bytes of a group before the cut.
        whole_bytes: Bytes of a group, without its padding.
    """
    packet = math.gcd(PACKET_BYTES, page_bytes, cut_bytes)

    def packets(size: int, unit: int) -> int:
        return -(-size // unit) * unit // packet

    parts = cut_bytes, whole_bytes - cut_bytes
    first, second = (packets(part, packet) for part in parts)
    first_stride, second_stride = (packets(part, page_bytes) for part in parts)
    stride = packets(whole_bytes, page_bytes)
    return Exchange(groups, page_bytes, packet, (first, second), (first_stride, second_stride), stride)


def strip_exchange(rows: int, lines: int, cut: int, features: int) -> Exchange:
    """Return the exchange of rows in strips, see `Strips`, that are cut at a column."""
    column = lines * FLOAT32_BYTES
    return exchange(-(-rows // lines), STRIP * column, cut * column, features * column)


def tile_exchange(rows: int, cut: int, features: int) -> Exchange:
    """Return the exchange of float32 rows in tiles that are cut at a column."""
    column = TILE * FLOAT32_BYTES
    return exchange(rows // TILE, TILE * column, cut * column, features * column)


def page_exchange(row_bytes: int, cut: int, count: int) -> Exchange:
    """Return the exchange of pages of row-major tensors: one card has the first `cut` of `count`."""
    page_bytes = -(-row_bytes // _PAGE_ALIGNMENT) * _PAGE_ALIGNMENT
    return exchange(1, page_bytes, cut * page_bytes, count * page_bytes)


def layer_exchanges(config: ModelConfig, rows: int, lines: int | None) -> Iterator[Exchange]:
    """Yield the exchanges of a layer: of attention, o, the gated rows, and down.

    Args:
        config: The model.
        rows: Rows of the step.
        lines: Rows that share strips, if they are few; see `Plan.lines`.
    """
    first, _ = share_columns(config)
    sizes = (
        (len(first.queries), config.query_features),
        (len(first.hidden), config.hidden_size),
        (len(first.inner), config.intermediate_size),
        (len(first.hidden), config.hidden_size),
    )
    for place, size in enumerate(sizes):
        if lines is not None or place == 0:
            yield strip_exchange(rows, lines or 1, *size)
        else:
            yield tile_exchange(-(-rows // TILE) * TILE, *size)


def step_exchanges(plan: Plan, sequences: int) -> Iterator[Exchange]:
    """Yield the exchanges of a decode step of greedy texts: those of each layer, and that of the largest logits."""
    lines, rows = plan.lines(sequences), plan.decode_bucket(sequences)
    layer = list(layer_exchanges(plan.config, rows, lines))
    for _ in range(plan.config.num_hidden_layers):
        yield from layer
    first, second = (replace(plan, columns=columns).vocabulary_parts[0] for columns in share_columns(plan.config))
    yield page_exchange(2 * rows * UINT32_BYTES, first, first + second)
