"""A frontend and workers of the demo model as programs on loopback, and a client that can end workers in mid-stream."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from bitnet_tt.cli import main; main()"]
STALL_SECONDS = 1.5


@dataclass
class Answer:
    """What a client read of a stream.

    Attributes:
        text: All text.
        usage: The usage at the end, without what depends on the caches.
        finish_reason: Why it ended.
        error: The error event, if there was one.
        logprobs: What the chunks reported.
        max_gap: The longest time between two events, in seconds.
    """

    text: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    finish_reason: str | None = None
    error: dict[str, Any] | None = None
    logprobs: list[Any] = field(default_factory=list)
    max_gap: float = 0.0


class Program:
    """A running `bitnet-tt`. `lines` has what it printed."""

    def __init__(self, command: list[str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def wait_for(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        """Wait for a line."""
        deadline = time.monotonic() + seconds
        while True:
            for line in self.lines:
                if found := re.search(pattern, line):
                    return found
            assert self.process.poll() is None, self.lines
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.02)

    @property
    def serves(self) -> bool:
        """Whether it is a worker that runs and was found by frontends."""
        return self.process.poll() is None and any(line.startswith("Serving: ") for line in self.lines)

    @property
    def cpu_seconds(self) -> float:
        """The processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill the program, whatever it does."""
        self.process.kill()
        self.process.wait(30)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Fleet:
    """One frontend, and workers that come and go.

    Args:
        folder: An empty folder for this fleet.
        step_seconds: Each step of the workers that are started takes so much longer.
        options: More options of the frontend.
        model: The model of the workers. It serves by the name `demo`.
    """

    def __init__(
        self, folder: Path, step_seconds: float = 0.0, options: tuple[str, ...] = (), model: str = "demo"
    ) -> None:
        self.folder = folder
        self.model = model
        self._notes = folder / "texts"
        self.step_seconds = step_seconds
        self.cluster = ("--folder", str(folder / "cluster"))
        self.workers: list[Program] = []
        frontend = ("scale", "frontend", "--port", "0", "--stall-seconds", str(STALL_SECONDS))
        self.frontend = Program([*COMMAND, *frontend, *self.cluster, *options])

    @property
    def url(self) -> str:
        """The address of the frontend, once it serves."""
        return self.frontend.wait_for(r"Ready: (\S+)").group(1)

    def start(self, count: int = 1, *options: str, wait: bool = True) -> list[Program]:
        """Start workers, and wait until they serve. `options` are more of `bitnet-tt scale worker`."""
        slow = (sys.executable, "-m", "tools.scale.slow_worker", str(self.step_seconds), str(self._notes))
        command = [*slow, "scale", "worker", self.model, "--name", "demo", "--threads", "1", *self.cluster, *options]
        new = [Program(command) for _ in range(count)]
        self.workers += new
        for one in new if wait else ():
            one.wait_for("^Serving: ")
        return new

    def members(self) -> int:
        """Return how many workers the frontend would ask."""
        state: dict[str, bool] = {}
        for line in self.frontend.lines:
            if found := re.match(r"worker (\w+) (serves|left|is passed over|answers again)", line):
                state[found.group(1)] = found.group(2) in ("serves", "answers again")
        return sum(state.values())

    def passed_over(self) -> int:
        """Return how often the frontend passed over a worker."""
        return sum(" is passed over: " in line for line in self.frontend.lines)

    def wait_for_members(self, least: int, seconds: float = 60.0) -> None:
        """Wait until the frontend would ask so many workers, or more."""
        deadline = time.monotonic() + seconds
        while self.members() < least:
            assert time.monotonic() < deadline, self.frontend.lines
            time.sleep(0.02)

    def busy(self) -> Program:
        """Return the worker that took the last text."""
        process = int(self._notes.read_text().split()[-1])
        return next(one for one in self.workers if one.process.pid == process)

    def stream(
        self, path: str, body: dict[str, Any], at: int = -1, event: Callable[[], object] | None = None
    ) -> Answer:
        """Read a stream; call `event` once, after `at` events with text."""
        answer, count, last = Answer(), 0, time.perf_counter()
        body = {"model": "demo", "stream": True, "stream_options": {"include_usage": True}} | body
        with httpx.stream("POST", self.url + path, json=body, timeout=60) as response:
            if response.status_code != 200:
                answer.error = json.loads(response.read())["error"]
                return answer
            for line in response.iter_lines():
                if not line.startswith("data: {"):
                    continue
                data = json.loads(line.removeprefix("data: "))
                now = time.perf_counter()
                answer.max_gap, last = max(answer.max_gap, now - last) if count else 0.0, now
                answer.error = answer.error or data.get("error")
                if usage := data.get("usage"):
                    answer.usage = {name: usage[name] for name in ("prompt_tokens", "completion_tokens")}
                for choice in data.get("choices", ()):
                    text = choice.get("text") or choice.get("delta", {}).get("content") or ""
                    answer.text += text
                    answer.finish_reason = choice["finish_reason"] or answer.finish_reason
                    if choice.get("logprobs"):
                        answer.logprobs.append(choice["logprobs"])
                    count += bool(text)
                if event is not None and count == at:
                    event()
                    event = None
        return answer

    def kill(self, number: int = signal.SIGKILL) -> Program:
        """Send a signal to the worker that took the last text."""
        victim = self.busy()
        victim.send(number)
        return victim

    def end(self) -> None:
        """Kill all programs."""
        for one in [*self.workers, self.frontend]:
            one.end()
