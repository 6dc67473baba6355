"""Start `bitnet-tt serve` as a process of its own, and read what it uses from /proc and /metrics."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx

_COMMAND = (sys.executable, "-c", "from bitnet_tt.cli import main; main()", "serve")
_END_SECONDS = 60.0
_POLL_SECONDS = 0.02


class ServerError(Exception):
    """The server did not start, or does not end."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server uses at one moment.

    Attributes:
        rss_bytes: Resident memory.
        descriptors: Open file descriptors.
        threads: Threads.
        texts: Texts that are computed or wait.
        cache_ratio: Part of the KV cache's blocks that running texts hold, from 0 to 1.
    """

    rss_bytes: int
    descriptors: int
    threads: int
    texts: int
    cache_ratio: float


class ServerProgram:
    """A running `bitnet-tt serve --model demo`. As a context manager, it kills the process at the end.

    Args:
        log: File that gets the log of the server; it is appended to.
        port: Port of 127.0.0.1; 0 takes a free one.
        options: More options of `bitnet-tt serve`.

    Attributes:
        url: The address, such as `http://127.0.0.1:8080`.
        process: The process.

    Raises:
        ServerError: It did not start; the message has the end of its log.
    """

    def __init__(self, log: Path, *, port: int = 0, options: tuple[str, ...] = ()) -> None:
        command = [*_COMMAND, "--model", "demo", "--port", str(port), *options]
        with log.open("a") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self.process.stdout is not None
        self._output: IO[str] = self.process.stdout
        ready = self._output.readline()
        if not ready.startswith("Ready: "):
            self._kill()
            raise ServerError(f"the server did not start: {log.read_text()[-1000:]}")
        self.url = ready.split()[1]

    def __enter__(self) -> Self:
        """Return the program itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the process, if it has not ended."""
        self._kill()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.rpartition(":")[2])

    def usage(self) -> Usage:
        """Return what it uses now."""
        metrics = httpx.get(f"{self.url}/metrics", headers={"connection": "close"}, timeout=60).text
        values = {name: float(value) for name, value in re.findall(r"^(bitnet_\w+) (\S+)$", metrics, re.MULTILINE)}
        folder = Path(f"/proc/{self.process.pid}")
        return Usage(
            rss_bytes=self._status("VmRSS") << 10,
            descriptors=sum(1 for _ in (folder / "fd").iterdir()),
            threads=self._status("Threads"),
            texts=int(values["bitnet_requests_running"] + values["bitnet_requests_waiting"]),
            cache_ratio=values["bitnet_kv_cache_usage_ratio"],
        )

    def peak_rss_bytes(self) -> int:
        """Return the peak of its resident memory."""
        return self._status("VmHWM") << 10

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process so far."""
        return cpu_seconds(self.process.pid)

    def settle(self, like: Usage | None = None, *, seconds: float = 30.0) -> Usage:
        """Wait until nothing runs, and no more descriptors are open than before; return what it uses then.

        Args:
            like: An earlier moment. None waits only for the texts.
            seconds: After this time, return what it uses anyway.
        """
        deadline = time.monotonic() + seconds
        while True:
            usage = self.usage()
            at_rest = usage.texts == 0 and usage.cache_ratio == 0
            if at_rest and (like is None or usage.descriptors <= like.descriptors):
                return usage
            if time.monotonic() > deadline:
                return usage
            time.sleep(_POLL_SECONDS)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        """Return the exit code, once it has ended.

        Raises:
            ServerError: It has not ended after a minute.
        """
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"the server runs {_END_SECONDS:g} s after SIGTERM") from error

    def _status(self, field: str) -> int:
        """Return a number of /proc/PID/status; sizes are in KiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(rf"^{field}:\s+(\d+)", text, re.MULTILINE)[0])

    def _kill(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self._output.close()


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process so far, all threads included; the time of its children is not."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


_TICKS = 100
"""Clock ticks a second in /proc: USER_HZ, which is 100 on every Linux that Python runs on."""
