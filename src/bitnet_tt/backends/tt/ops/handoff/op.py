"""Hand the pages of a tensor from one card to another over the fabric, the network on the cards' Ethernet cores.

A link goes one way and has room for one tensor, in the DRAM of its target. `send` runs on the source: it waits until
the room is free, writes the pages there, and raises the semaphore `ready`. `receive` runs on the target: it waits for
`ready`, copies the pages, and raises `free` on the source. So the cards wait for each other, and the host for none of
them. Each `send` needs one `receive`; which of them starts first does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, Route, launch
from bitnet_tt.backends.tt.planning.chain_cost import PACKET_BYTES
from bitnet_tt.backends.tt.planning.memory import LANDING_PAGE_BYTES

_PACKETS = 16  # that have room in L1
_HEADER_BYTES = 128  # room for a packet's header


@dataclass(frozen=True, slots=True)
class Link:
    """The way for tensors from one card to a neighbour.

    Attributes:
        source: The card that sends.
        target: The card that receives.
        landing: Where the pages arrive, on the target.
        ready: On the target: the pages have arrived. Its value is 0 or 1.
        free: On the source: the pages may be overwritten. Its value is 0 or 1.
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


def send(link: Link, tensor: ttnn.Tensor) -> None:
    """Send a tensor of the link's source. The program ends when it has left the card.

    Args:
        link: The link.
        tensor: The tensor, as large as its landing or smaller.
    """
    shape = _packets_of(tensor)
    launch(
        reader=Kernel("handoff/send_read.cpp", tensors={"source": tensor}, constants=shape),
        writer=Kernel(
            "handoff/send_write.cpp",
            remote_tensors={"landing": link.landing},
            constants=shape,
            arguments={"free": _address(link.free), "ready": _address(link.ready)},
            uses_fabric=True,
        ),
        buffers=_buffers(shape),
        route=Route(link.source.node, link.target.node),
    )


def receive(link: Link, tensor: ttnn.Tensor) -> None:
    """Wait for a tensor that the link's source sends, and copy it.

    Args:
        link: The link.
        tensor: Takes the pages, on the link's target. It has the form of the tensor that is sent.
    """
    shape = _packets_of(tensor)
    launch(
        reader=Kernel(
            "handoff/receive_read.cpp",
            tensors={"landing": link.landing},
            constants=shape,
            arguments={"ready": _address(link.ready)},
        ),
        writer=Kernel(
            "handoff/receive_write.cpp",
            tensors={"result": tensor},
            constants=shape,
            arguments={"free": _address(link.free)},
            uses_fabric=True,
        ),
        buffers=_buffers(shape),
        route=Route(link.target.node, link.source.node),
    )


def _packets_of(tensor: ttnn.Tensor) -> dict[str, int]:
    """Return the pages of a tensor, and the packets that they become: parts of one page each."""
    page_bytes = tensor.buffer_page_size()
    packet_bytes = min(page_bytes, PACKET_BYTES)
    assert page_bytes % packet_bytes == 0
    return {
        "page_bytes": page_bytes,
        "packet_bytes": packet_bytes,
        "packets": tensor.buffer_num_pages() * (page_bytes // packet_bytes),
        "room": _PACKETS,
    }


def _buffers(shape: dict[str, int]) -> dict[str, Buffer | None]:
    return {"packets": Buffer(shape["packet_bytes"], _PACKETS), "header": Buffer(_HEADER_BYTES)}


def _semaphore(card: Card, value: int) -> Any:
    """Make a semaphore on the first core of a card, where the programs of a hand-off run."""
    core = ttnn.CoreCoord(0, 0)
    return ttnn.create_global_semaphore(card.device, ttnn.CoreRangeSet([ttnn.CoreRange(core, core)]), value)


def _address(semaphore: Any) -> int:
    address: int = ttnn.get_global_semaphore_address(semaphore)
    return address
