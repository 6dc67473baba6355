"""Run bitnet-tt in mock mode with a noisy ttnn, which prints to standard output when it opens, closes and exits.

RECORD=FILE python -m tests.device.mock.noisy ARGUMENTS...: writes `open`, `step` before the first decode step, and
`close` to the file, one a line.
"""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Any

import ttnn

from bitnet_tt.cli import main

_NOISE = b"[0] 1.4 seconds (0.0 KHz)\n"
_update = ttnn.copy_host_to_device_tensor
_open_device, _close_device = ttnn.open_mesh_device, ttnn.close_mesh_device


def _open_noisily(*arguments: Any, **options: Any) -> Any:
    _note("open")
    return _open_device(*arguments, **options)


def _close_noisily(device: Any) -> None:
    _close_device(device)
    _note("close")


def _update_noisily(*arguments: Any) -> None:
    ttnn.copy_host_to_device_tensor = _update
    _note("step")
    _update(*arguments)


def _note(event: str) -> None:
    os.write(1, _NOISE)
    with Path(os.environ["RECORD"]).open("a") as file:
        file.write(f"{event}\n")


# Also in processes that this one starts: they import this module, but do not run it.
ttnn.open_mesh_device, ttnn.close_mesh_device = _open_noisily, _close_noisily
ttnn.copy_host_to_device_tensor = _update_noisily
atexit.register(os.write, 1, _NOISE)

if __name__ == "__main__":
    main()
