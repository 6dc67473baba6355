"""The one thread that steps. Other threads put calls into its inbox, and it makes them between two steps."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from weakref import WeakSet

from bitnet_tt.backends.base import FORKED
from bitnet_tt.engine.channel import Delivery, hand_out
from bitnet_tt.engine.request import Request
from bitnet_tt.engine.step import Stepper
from bitnet_tt.errors import DeviceError, DrainingError, QueueFullError

_EXIT_SECONDS = 10.0
"""At the exit of the interpreter, a step that takes longer than this is not waited for."""

_HAND_OUT_SECONDS = 0.002
"""While requests run, readers are woken at most this often. A small model makes a token in 0.3 ms, and waking a thread
for each one would take 10 % of its speed."""

CLOSED = "this model is closed; load it again"

_THREADS: WeakSet[threading.Thread] = WeakSet()


@atexit.register
def _join_threads() -> None:
    """Wait for threads that are about to end, such as that of an engine that nobody holds any more.

    It may be freeing the backend. A daemon thread that is in native code when the interpreter exits aborts the process.
    """
    for thread in list(_THREADS):
        thread.join(_EXIT_SECONDS)


class Driver:
    """Steps a `Stepper` on a thread of its own. The thread starts with the first request and sleeps without requests.

    Threads: any thread may call any method. None waits for a step, except `join` and `drain`. A lock guards the few
    fields that threads share. No step, no call of the inbox and no reader's code runs under it.

    The thread does not keep the interpreter alive. It ends with `close`, with `abandon`, and at exit.

    Args:
        stepper: Its steps. From the first request on, only the thread calls it.
        max_requests: Maximum number of requests that have not ended. None means no limit.
    """

    def __init__(self, stepper: Stepper, max_requests: int | None = None) -> None:
        self._stepper = stepper
        self._max_requests = max_requests
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # Reentrant, because the garbage collector may call `cancel` while the same thread holds it.
        self._lock = threading.Condition()
        self._requests = 0  # submitted and not ended
        self._closed = False
        self._draining = False
        self._exiting = False
        self._thread: threading.Thread | None = None
        self._handed_out_at = 0.0
        self._end = False  # only the thread itself reads and writes it
        self._close_error: BaseException | None = None
        self._process = os.getpid()

    @property
    def forked(self) -> bool:
        """Whether this process was forked after the driver was made, so that it has no thread to step."""
        return os.getpid() != self._process

    @property
    def requests(self) -> int:
        """Number of requests that were submitted and have not ended."""
        return self._requests

    def check_open(self) -> None:
        """Check that this process can use the model.

        Raises:
            DeviceError: It is closed, or this process was forked after the model was loaded.
        """
        if self.forked:
            raise DeviceError(FORKED)
        if self._closed:
            raise DeviceError(CLOSED)

    def submit(self, request: Request) -> None:
        """Queue a request. If it was submitted already, or has ended, nothing changes.

        Raises:
            DeviceError: The driver is closed.
            DrainingError: `drain` was called.
            QueueFullError: There are `max_requests` requests that have not ended.
        """
        self.check_open()
        with self._lock:
            self.check_open()
            if request.submitted_at or request.ended:
                return
            if self._draining:
                raise DrainingError("the model takes no new requests: it is about to be closed")
            if self._max_requests is not None and self._requests >= self._max_requests:
                raise QueueFullError(f"{self._requests} requests are running or waiting; send this one again later")
            self._start()
            request.submitted_at = time.perf_counter()
            self._requests += 1
            self._inbox.put(partial(self._stepper.add, request))

    def cancel(self, request: Request) -> None:
        """End a request before the next step. If it has ended already, or in a forked process, nothing changes.

        A request that was not submitted yet never will be.
        """
        if self.forked:
            return
        with self._lock:
            if request.ended:
                return
            if request.submitted_at:
                self._inbox.put(partial(self._stepper.end, request, "cancelled"))
            else:
                request.finish_reason = "cancelled"
                request.channel.put(Delivery([], ended=True))

    def drain(self, timeout: float | None = None) -> bool:
        """Refuse new requests, and wait until all others have ended.

        Args:
            timeout: The maximum time to wait, in seconds. None means no limit.

        Returns:
            Whether all requests have ended.

        Raises:
            DeviceError: This process was forked after the model was loaded.
        """
        if self.forked:
            raise DeviceError(FORKED)
        with self._lock:
            self._draining = True
            return self._lock.wait_for(lambda: self._requests == 0, timeout)

    def close(self) -> None:
        """End all requests by a DeviceError, and the thread after its current step. The thread closes the backend.

        Without a thread, the backend is closed at once. A second call, or one in a forked process, does nothing.
        """
        if self.forked:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._thread is not None:
                self._inbox.put(self._stop)
                return
        self._stepper.backend.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended, after `close`.

        Args:
            timeout: The maximum time to wait, in seconds. None means no limit.

        Returns:
            Whether it has ended.

        Raises:
            DeviceError: The backend could not be closed.
        """
        thread = self._thread
        if self.forked or thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        if self._close_error is not None:
            raise self._close_error
        return not thread.is_alive()

    def abandon(self) -> None:
        """End the thread without closing the backend: nobody can submit or read any more.

        It takes no lock, because the garbage collector calls it.
        """
        if not self.forked:
            self._inbox.put(self._stop)

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="bitnet-tt engine", daemon=True)
            thread.start()
            _THREADS.add(thread)
            self._thread = thread
            # A daemon thread dies in the middle of native code when the interpreter exits. So it is ended before. The
            # functions of atexit run last in, first out: this one before those of a device that was opened earlier.
            atexit.register(self._exit)

    def _stop(self) -> None:
        self._end = True

    def _exit(self) -> None:
        if self.forked:
            return
        self._exiting = self._draining = True
        self.abandon()
        self.join(_EXIT_SECONDS)

    def _run(self) -> None:
        failure: BaseException = DeviceError(CLOSED)
        try:
            while not self._end:
                self._make_calls()
                if self._end:
                    break
                self._stepper.expire()
                self._stepper.step()
                if self._stepper.has_ends or time.perf_counter() - self._handed_out_at >= _HAND_OUT_SECONDS:
                    self._hand_out()
        except BaseException as error:  # a mistake in this package: nobody may wait forever
            failure = error
            self._closed = True
        finally:
            self._shut_down(failure)

    def _make_calls(self) -> None:
        """Make the calls of the inbox. If there is nothing to compute, sleep until there is one.

        A new prompt may make the next step a long one, so the readers get first what there is.
        """
        if not self._stepper.busy:
            self._inbox.get()()
        elif self._inbox.empty():
            return
        while not self._inbox.empty():
            self._inbox.get()()
        self._hand_out()

    def _hand_out(self) -> None:
        """Give the readers what the last steps have for them."""
        news = self._stepper.take_news()
        if not news:
            return
        self._handed_out_at = time.perf_counter()
        ended = sum(delivery.ended for _, delivery in news)
        if ended:
            with self._lock:
                self._requests -= ended
                self._lock.notify_all()
        lost = hand_out((request.channel, delivery) for request, delivery in news)
        if lost:
            for request, _ in news:
                if request.channel in lost:
                    self._stepper.end(request, "cancelled")
            self._hand_out()  # so that these requests count as ended

    def _shut_down(self, failure: BaseException) -> None:
        """End all requests by an error, and close the backend if the driver is closed."""
        if not self._exiting:
            atexit.unregister(self._exit)
        while not self._inbox.empty():  # requests that the thread has not seen
            self._inbox.get()()
        for request in self._stepper.requests:
            self._stepper.fail(request, failure)
        self._hand_out()
        if self._closed:
            try:
                self._stepper.backend.close()
            except Exception as error:
                self._close_error = error
