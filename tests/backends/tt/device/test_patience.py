"""A call that waits for a device is given up after a time limit; its errors arrive where it was made."""

from __future__ import annotations

import threading

import pytest

from bitnet_tt.backends.tt.device.patience import Patience
from bitnet_tt.errors import DeviceError


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_a_call_that_returns_is_waited_for(seconds: float | None) -> None:
    calls: list[int] = []
    patience = Patience(seconds)
    for number in range(3):
        patience.wait(lambda number=number: calls.append(number))  # type: ignore[misc]
    assert calls == [0, 1, 2]


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_an_error_is_raised_where_the_call_was_made(seconds: float | None) -> None:
    def fail() -> None:
        raise RuntimeError("no such event")

    with pytest.raises(RuntimeError, match="no such event"):
        Patience(seconds).wait(fail)


def test_a_call_that_does_not_return_is_given_up() -> None:
    never = threading.Event()
    with pytest.raises(DeviceError, match="did not answer within 0 s"):
        Patience(0.1).wait(never.wait)
    never.set()
