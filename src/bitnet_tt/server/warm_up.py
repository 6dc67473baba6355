"""Before the first request: let a device compile its programs, and compare it with the CPU."""

from __future__ import annotations

from collections.abc import Callable

from bitnet_tt.model import BitNetModel
from bitnet_tt.selftest import check_device


def warm_up(
    model: BitNetModel, max_batch_size: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Prepare a device for every shape of step, and check that it computes right. On the CPU nothing is done.

    Args:
        model: The model. No other thread uses it.
        max_batch_size: Maximum number of texts that are computed together.
        progress: Called with the number of finished shapes and of all shapes.

    Raises:
        DeviceError: The device computes wrong.
    """
    if model.options.resolved_device != "cpu":
        model.backend.warm_up(max_batch_size, progress)
        check_device(model)
