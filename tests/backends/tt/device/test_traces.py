"""The first step of a shape is launched, the second recorded, later ones replayed; the device here keeps a log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bitnet_tt.backends.tt.device.traces import Traces
from bitnet_tt.backends.tt.planning.launches import MAX_TRACES


class Log:
    """A recorder that keeps a log of its calls."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Any]] = []
        self._begun = 0

    def begin(self) -> int:
        self._begun += 1
        self.entries.append(("begin", self._begun))
        return self._begun

    def end(self, trace: int) -> None:
        self.entries.append(("end", trace))

    def execute(self, trace: int) -> None:
        self.entries.append(("execute", trace))

    def release(self, trace: int) -> None:
        self.entries.append(("release", trace))

    def step(self, name: str) -> Callable[[], str]:
        def launch() -> str:
            self.entries.append(("launch", name))
            return f"result of {name}"

        return launch


def test_a_shape_is_launched_then_recorded_then_replayed() -> None:
    log = Log()
    traces = Traces(log)
    results = [traces.run("a", log.step(f"step {number}")) for number in range(4)]
    assert log.entries == [
        ("launch", "step 0"),
        ("begin", 1),
        ("launch", "step 1"),
        ("end", 1),
        ("execute", 1),
        ("execute", 1),
        ("execute", 1),
    ]
    assert results == ["result of step 0"] + ["result of step 1"] * 3


def test_each_shape_has_its_own_trace() -> None:
    log = Log()
    traces = Traces(log)
    for shape in "abab":
        traces.run(shape, log.step(shape))
    log.entries.clear()
    assert [traces.run(shape, log.step("never")) for shape in "ab"] == ["result of a", "result of b"]
    assert log.entries == [("execute", 1), ("execute", 2)]


def test_the_trace_unused_for_the_longest_time_is_released_first() -> None:
    log = Log()
    traces = Traces(log)
    for shape in range(MAX_TRACES):
        traces.run(shape, log.step("first"))
        traces.run(shape, log.step("second"))
    traces.run(0, log.step("never"))
    traces.run("new", log.step("first"))
    log.entries.clear()
    traces.run("new", log.step("second"))
    assert log.entries[:2] == [("release", 2), ("begin", MAX_TRACES + 1)]
    log.entries.clear()
    traces.run(0, log.step("never"))
    assert log.entries == [("execute", 1)]
    traces.run(1, log.step("its programs are known"))
    assert ("begin", MAX_TRACES + 2) in log.entries


def test_after_release_shapes_are_unknown_again() -> None:
    log = Log()
    traces = Traces(log)
    for number in range(3):
        traces.run("a", log.step(f"step {number}"))
    log.entries.clear()
    traces.release()
    traces.release()
    assert log.entries == [("release", 1)]
    log.entries.clear()
    for number in range(3):
        traces.run("a", log.step(f"step {number}"))
    assert log.entries[:2] == [("launch", "step 0"), ("begin", 2)]


def test_a_recording_that_fails_is_ended_and_released() -> None:
    log = Log()
    traces = Traces(log)
    traces.run("a", log.step("first"))

    def fail() -> None:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        traces.run("a", fail)
    assert log.entries[-2:] == [("end", 1), ("release", 1)]
    traces.run("a", log.step("again"))
    assert log.entries[-1] == ("execute", 2)


def test_without_a_recorder_every_step_is_launched() -> None:
    log = Log()
    traces = Traces(None)
    assert [traces.run("a", log.step(str(number))) for number in range(3)] == [f"result of {i}" for i in range(3)]
    traces.release()
