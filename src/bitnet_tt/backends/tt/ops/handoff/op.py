"""Hand the pages of a tensor from one card to another by a link, see `link.py`.

`send` runs on the link's source, `receive` on its target. Each `send` needs one `receive`; which of them starts first
does not matter.
"""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.link import Link, address, packet_buffers, packet_constants
from bitnet_tt.backends.tt.ops.common.program import Kernel, launch
from bitnet_tt.backends.tt.planning.exchange import PACKET_BYTES


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
            arguments={"free": address(link.free), "ready": address(link.ready)},
            uses_fabric=True,
        ),
        buffers=packet_buffers(shape["packet_bytes"]),
        route=link.route,
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
            arguments={"ready": address(link.ready)},
        ),
        writer=Kernel(
            "handoff/receive_write.cpp",
            tensors={"result": tensor},
            constants=shape,
            arguments={"free": address(link.free)},
            uses_fabric=True,
        ),
        buffers=packet_buffers(shape["packet_bytes"]),
        route=link.way_back,
    )


def _packets_of(tensor: ttnn.Tensor) -> dict[str, int]:
    """Return the pages of a tensor, and the packets that they become: parts of one page each."""
    page_bytes = tensor.buffer_page_size()
    packet_bytes = min(page_bytes, PACKET_BYTES)
    packets = tensor.buffer_num_pages() * (page_bytes // packet_bytes)
    return packet_constants(page_bytes, packet_bytes) | {"packets": packets}
