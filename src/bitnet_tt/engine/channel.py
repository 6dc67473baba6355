"""How pieces get from the driver's thread to a reader: another thread, or a task of an asyncio event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from bitnet_tt.generation import Piece

if TYPE_CHECKING:
    import asyncio


class Delivery(NamedTuple):
    """What a step has for the reader of one request.

    Attributes:
        pieces: The new pieces, in order; may be none.
        ended: Whether this is the last delivery. Then `Request.error` says whether the request failed.
    """

    pieces: list[Piece]
    ended: bool


class ThreadChannel:
    """Brings deliveries to one thread, which waits for them."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Delivery] = SimpleQueue()

    def put(self, delivery: Delivery) -> None:
        """Add a delivery and wake the reader."""
        self._queue.put(delivery)

    def get(self) -> Delivery:
        """Wait for the next delivery. After the last one, return an empty last one, as often as it is asked for."""
        delivery = self._queue.get()
        if delivery.ended:
            self._queue.put(Delivery([], ended=True))
        return delivery


class LoopChannel:
    """Brings deliveries to one task of an event loop.

    `put` wakes nobody: `wake` does, once a step for all channels of a loop, and it runs in the loop's own thread.

    Attributes:
        loop: The event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._deliveries: deque[Delivery] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, delivery: Delivery) -> None:
        """Add a delivery. Any thread may call this."""
        self._deliveries.append(delivery)

    async def get(self) -> Delivery:
        """Wait for the next delivery."""
        while not self._deliveries:
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._deliveries.popleft()

    def wake(self) -> None:
        """Wake the reader, if it waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


type Channel = ThreadChannel | LoopChannel


def hand_out(deliveries: Iterable[tuple[Channel, Delivery]]) -> set[Channel]:
    """Give each reader its delivery. Each event loop is called once.

    Returns:
        The channels that nobody reads any more, because their event loop is closed.
    """
    loops: dict[asyncio.AbstractEventLoop, list[LoopChannel]] = {}
    for channel, delivery in deliveries:
        channel.put(delivery)
        if isinstance(channel, LoopChannel):
            loops.setdefault(channel.loop, []).append(channel)
    lost: set[Channel] = set()
    for loop, channels in loops.items():
        try:
            loop.call_soon_threadsafe(_wake, channels)
        except RuntimeError:  # the loop is closed
            lost.update(channels)
    return lost


def _wake(channels: list[LoopChannel]) -> None:
    for channel in channels:
        channel.wake()
