"""Metal traces: the launches of a step, recorded once and replayed by one command."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol

MAX_TRACES = 4
"""How many are kept: each holds memory of the card, and a serving engine moves among few shapes at a time."""


class Recorder(Protocol):
    """A device that can record: ttnn's functions, bound to one device."""

    def begin(self) -> Any:
        """Record what is launched from now on instead of running it; return the trace's name."""

    def end(self, trace: Any) -> None:
        """Stop recording."""

    def execute(self, trace: Any) -> None:
        """Run a trace."""

    def release(self, trace: Any) -> None:
        """Forget a trace and free its memory."""


class Traces:
    """Runs steps, from the third of a shape on by replaying its second.

    The first compiles programs, which a recording may not. What a step reads and writes beside its own temporary
    tensors must stay where it is until `release`: a replay uses the addresses that were recorded. Tensors made after a
    recording may lie where a replay has its temporary ones, so they must not be needed across steps.
    """

    def __init__(self, recorder: Recorder | None) -> None:
        """Without a recorder every step is launched."""
        self.recorder = recorder
        self._seen: set[Hashable] = set()
        self._recorded: OrderedDict[Hashable, tuple[Any, Any]] = OrderedDict()

    def run(self, shape: Hashable, step: Callable[[], Any]) -> Any:
        """Run a step.

        Args:
            shape: All that its launches depend on but the contents of tensors that stay in place.
            step: Launches it.

        Returns:
            What the step returned when it was launched or recorded: tensors, whose contents are valid until the next.
        """
        if self.recorder is None:
            return step()
        if shape not in self._seen:
            self._seen.add(shape)
            return step()
        if shape not in self._recorded:
            self._record(self.recorder, shape, step)
        self._recorded.move_to_end(shape)
        trace, result = self._recorded[shape]
        self.recorder.execute(trace)
        return result

    def _record(self, recorder: Recorder, shape: Hashable, step: Callable[[], Any]) -> None:
        while len(self._recorded) >= MAX_TRACES:
            _, (oldest, _) = self._recorded.popitem(last=False)
            recorder.release(oldest)
        trace = recorder.begin()
        try:
            result = step()
        except BaseException:
            recorder.end(trace)
            recorder.release(trace)
            raise
        recorder.end(trace)
        self._recorded[shape] = trace, result

    def release(self) -> None:
        """Forget all traces and shapes: before tensors that steps use are moved, and before the device is closed."""
        self._seen.clear()
        while self._recorded:
            _, (trace, _) = self._recorded.popitem()
            assert self.recorder is not None
            self.recorder.release(trace)
