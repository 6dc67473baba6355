"""`bitnet-tt` whose engine waits before each step, and whose worker notes each text: so that it can be ended in time.

Arguments: seconds before a step, the file of notes, and those of `bitnet-tt`.
"""

import os
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.cli import main
from bitnet_tt.scale.worker import Worker


def _slow_down(seconds: float, notes: Path) -> None:
    compute, answer = CPUBackend.candidates, Worker.texts

    def candidates(self: CPUBackend, *arguments: Any) -> Any:
        time.sleep(seconds)
        return compute(self, *arguments)

    async def texts(self: Worker, payload: str, context: Any) -> AsyncGenerator[str]:
        with notes.open("a") as file:
            file.write(f"{os.getpid()}\n")
        async for frame in answer(self, payload, context):
            yield frame

    for owner, name, value in ((CPUBackend, "candidates", candidates), (Worker, "texts", texts)):
        setattr(owner, name, value)


if __name__ == "__main__":
    _slow_down(float(sys.argv[1]), Path(sys.argv[2]))
    del sys.argv[1:3]
    main()
