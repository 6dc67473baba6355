"""Processes that only use processor time, to measure a model on a busy machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

# The program prints a line once it runs. It ends by itself when its parent process is gone.
_SPIN = "import os\nparent = os.getppid()\nprint(flush=True)\nwhile os.getppid() == parent:\n    sum(range(100000))\n"
_SETTLE_SECONDS = 0.2


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep `count` processes spinning inside a with statement."""
    processes = [subprocess.Popen([sys.executable, "-c", _SPIN], stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(_SETTLE_SECONDS)
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()
