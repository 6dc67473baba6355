"""`bitnet-tt` whose engine waits before each step, and whose worker notes each text: so that tests can end it in time.

Arguments: seconds before a step, the file of notes, and those of `bitnet-tt`.
"""

import os
import sys
import time
from pathlib import Path

from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.cli import main
from bitnet_tt.scale.worker import Worker

seconds, notes = float(sys.argv[1]), Path(sys.argv[2])
del sys.argv[1:3]
compute, answer = CPUBackend.candidates, Worker.texts


def candidates(self, batch, filters):
    time.sleep(seconds)
    return compute(self, batch, filters)


async def texts(self, payload, context):
    with notes.open("a") as file:
        file.write(f"{os.getpid()}\n")
    async for frame in answer(self, payload, context):
        yield frame


CPUBackend.candidates, Worker.texts = candidates, texts
main()
