"""Wait for a device, but not for ever: ttnn has a time limit for reads, and none for events."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from bitnet_tt.errors import DeviceError


class Patience:
    """Makes calls that wait for a device. After a time limit it gives up, and leaves the call to its thread."""

    def __init__(self, seconds: float | None) -> None:
        """Start the thread.

        Args:
            seconds: The time limit. None waits for ever, without a thread.
        """
        self._seconds = seconds
        self._calls: SimpleQueue[tuple[Callable[[], object], SimpleQueue[BaseException | None]]] = SimpleQueue()
        if seconds is not None:
            threading.Thread(target=_serve, args=(self._calls,), name="bitnet-tt device", daemon=True).start()

    def wait(self, call: Callable[[], object]) -> None:
        """Make a call.

        Raises:
            DeviceError: It did not return in time.
        """
        if self._seconds is None:
            call()
            return
        answers: SimpleQueue[BaseException | None] = SimpleQueue()
        self._calls.put((call, answers))
        try:
            error = answers.get(timeout=self._seconds)
        except Empty:
            raise no_answer(self._seconds) from None
        if error is not None:
            raise error


def no_answer(seconds: float | None) -> DeviceError:
    """Return the error for a card that did not answer in time."""
    limit = "in time" if seconds is None else f"within {seconds:.0f} s"
    return DeviceError(
        f"a Tenstorrent card did not answer {limit}; check the cables between the cards with bitnet-tt doctor --cards, "
        "reset the cards with tt-smi -r, and load the model again"
    )


def _serve(calls: SimpleQueue[tuple[Callable[[], object], SimpleQueue[BaseException | None]]]) -> None:
    while True:
        call, answers = calls.get()
        try:
            call()
        except BaseException as error:  # raised again where `wait` was called
            answers.put(error)
        else:
            answers.put(None)
