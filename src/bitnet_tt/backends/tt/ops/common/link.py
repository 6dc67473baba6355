"""A link from one card to a neighbour over the fabric, the network on the cards' Ethernet cores.

A link goes one way and has room for one tensor, in the DRAM of its target. The source waits until the room is free,
writes packets there, and raises the semaphore `ready`. The target waits for `ready`, copies the packets, and raises
`free` on the source. So the cards wait for each other, and the host for none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.ops.common.program import ALIGNMENT, Buffer, Route
from bitnet_tt.backends.tt.planning.memory import LANDING_PAGE_BYTES

_PACKETS = 16  # that have room in L1
_HEADER_BYTES = 128  # room for a packet's header


@dataclass(frozen=True, slots=True)
class Link:
    """The way for tensors from one card to a neighbour.

    Attributes:
        source: The card that sends.
        target: The card that receives.
        landing: Where the packets arrive, on the target.
        ready: On the target: the address of its semaphore. The packets have arrived. Its value is 0 or 1.
        free: On the source: the packets may be overwritten. Its value is 0 or 1.
    """

    source: Card
    target: Card
    landing: ttnn.Tensor
    ready: Any
    free: Any

    @classmethod
    def between(cls, source: Card, target: Card, pages: int) -> Link:
        """Make a link whose landing has so many pages of `LANDING_PAGE_BYTES`."""
        landing = target.rows(np.zeros((pages, LANDING_PAGE_BYTES // 4), np.uint32), ttnn.uint32)
        return cls(source, target, landing, _semaphore(target, 0), _semaphore(source, 1))

    @property
    def route(self) -> Route:
        """The way from the source to the target."""
        return Route(self.source.node, self.target.node)

    @property
    def way_back(self) -> Route:
        """The way from the target to the source."""
        return Route(self.target.node, self.source.node)


def packet_constants(page_bytes: int, packet_bytes: int) -> dict[str, int]:
    """Return the constants of `packets.hpp`."""
    assert page_bytes % packet_bytes == 0
    assert packet_bytes % ALIGNMENT == 0
    return {"page_bytes": page_bytes, "packet_bytes": packet_bytes, "room": _PACKETS}


def packet_buffers(packet_bytes: int) -> dict[str, Buffer | None]:
    """Return the buffers of `packets.hpp` and `fabric.hpp`."""
    return {"packets": Buffer(packet_bytes, _PACKETS), "header": Buffer(_HEADER_BYTES)}


def address(semaphore: Any) -> int:
    """Return the address of a semaphore, which is the same on every core."""
    value: int = ttnn.get_global_semaphore_address(semaphore)
    return value


def _semaphore(card: Card, value: int) -> Any:
    """Make a semaphore on the first core of a card, where the programs of a link run."""
    core = ttnn.CoreCoord(0, 0)
    return ttnn.create_global_semaphore(card.device, ttnn.CoreRangeSet([ttnn.CoreRange(core, core)]), value)
