"""Read tensors of any dtype back from a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import ttnn
from numpy.typing import NDArray


def to_host(tensor: Any) -> NDArray[np.float32]:
    """Copy a tensor of any dtype from the device to a float32 array."""
    host: NDArray[np.float32] = ttnn.typecast(tensor, ttnn.float32).cpu().to_numpy()
    return host
