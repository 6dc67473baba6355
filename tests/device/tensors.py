"""Put rows in strips on a device, and read tensors of any form back from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.planning.grid import STRIP


def to_host(tensor: Any) -> NDArray[np.float32]:
    """Copy a tensor of any dtype from the device to a float32 array."""
    host: NDArray[np.float32] = ttnn.typecast(tensor, ttnn.float32).cpu().to_numpy()
    return host


def strips(card: Card, rows: NDArray[np.float32], lines: int = 1) -> Strips:
    """Put rows on the card in strips. Rows that fill up the last page are NaN: they must change nothing."""
    count, features = rows.shape
    padded = np.zeros((-(-count // lines) * lines, -(-features // STRIP) * STRIP), np.float32)
    padded[:count, :features], padded[count:] = rows, np.nan
    pages = padded.reshape(-1, lines, padded.shape[1] // STRIP, STRIP // 16, 16).transpose(0, 2, 3, 1, 4)
    return Strips(card.rows(pages.reshape(-1, STRIP * lines), ttnn.float32), count, features, lines)


def from_strips(rows: Strips) -> NDArray[np.float32]:
    """Copy rows in strips to the host."""
    host = rows.tensor.cpu().to_numpy().reshape(-1, -(-rows.features // STRIP), STRIP // 16, rows.lines, 16)
    unfolded: NDArray[np.float32] = host.transpose(0, 3, 1, 2, 4).reshape(len(host) * rows.lines, -1)
    return unfolded[: rows.rows, : rows.features]
