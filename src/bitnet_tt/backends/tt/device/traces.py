"""Metal traces: the launches of a step, recorded once and then replayed by one command."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from bitnet_tt.backends.tt.planning.launches import MAX_TRACES


class Recorder(Protocol):
    """A device that can record traces: ttnn's functions, bound to one device."""

    def begin(self) -> Any:
        """Record launches from now on instead of running them; return the trace's id."""

    def end(self, trace: Any) -> None:
        """Stop recording."""

    def execute(self, trace: Any) -> None:
        """Run a trace."""

    def release(self, trace: Any) -> None:
        """Free the memory of a trace."""


class Traces:
    """Runs steps, and replays those whose shape is known.

    The first step of a shape compiles its programs, which is not possible while recording. The second step of that
    shape is recorded. The third and later steps replay this trace.

    A replay uses the addresses that were recorded. So the tensors that a step reads and writes, except its own
    temporary ones, must stay in place until `release`. A replay may overwrite tensors that were made after its
    recording. So such a tensor must not be needed after the next step.

    Attributes:
        recorder: The device that records. None if it cannot: then every step is launched.
    """

    def __init__(self, recorder: Recorder | None) -> None:
        self.recorder = recorder
        self._seen: set[Hashable] = set()
        self._recorded: OrderedDict[Hashable, tuple[Any, Any]] = OrderedDict()

    def run(self, shape: Hashable, step: Callable[[], Any]) -> Any:
        """Run a step.

        Args:
            shape: Everything that the step's launches depend on, except the contents of tensors that stay in place.
            step: Launches the step.

        Returns:
            What the step returned when it was launched or recorded: tensors, whose contents are valid until the next
            step.
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

    def launches(self, shape: Hashable) -> bool:
        """Return whether `run` would launch a step of this shape, neither record nor replay it."""
        return self.recorder is None or shape not in self._seen

    def _record(self, recorder: Recorder, shape: Hashable, step: Callable[[], Any]) -> None:
        """Record a step. If there are too many traces, first release the one that was used least recently."""
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
        """Forget all traces and shapes. Call it before tensors that steps use move, and before the device closes."""
        self._seen.clear()
        while self._recorded:
            _, (trace, _) = self._recorded.popitem()
            assert self.recorder is not None
            self.recorder.release(trace)
