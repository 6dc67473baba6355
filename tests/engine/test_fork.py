"""A process that was forked while a thread generates gets a clear error at once, and never waits."""

import os
import threading
import time
import warnings
from collections.abc import Callable

from bitnet_tt import BitNetModel
from bitnet_tt.errors import DeviceError


def in_child(action: Callable[[], object]) -> str:
    """Run an action in a forked process; return its DeviceError, `none`, or `hung` after 10 seconds."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of a fork while other threads run
        child = os.fork()
    if child == 0:
        try:
            action()
            os.write(writer, b"none")
        except DeviceError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    deadline = time.monotonic() + 10
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            os.close(reader)
            return "hung"
        time.sleep(0.002)
    with os.fdopen(reader) as pipe:
        return pipe.read()


def test_a_child_of_a_busy_process_gets_the_error_at_once() -> None:
    with BitNetModel.from_pretrained("demo") as model:
        stream, chunks = model.stream("Once"), model.engine.score([1, 2, 3])
        next(stream)
        next(chunks)
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                model.generate("Once", max_new_tokens=20)

        thread = threading.Thread(target=work)
        thread.start()
        uses = (
            lambda: model.generate("Hi", max_new_tokens=2),
            lambda: model.logits([1, 2]),
            lambda: model.perplexity("Once upon a time"),
            lambda: model.chat([{"role": "user", "content": "Hi"}]),
            lambda: model.engine.stats(),
            lambda: model.backend.stats(),
        )
        try:
            for _ in range(3):
                for use in uses:
                    assert "load the model in the child process" in in_child(use)
                # The thread may already have computed the whole stream; then it ends without an error.
                assert in_child(lambda: list(stream)) != "hung"
                assert in_child(model.close) == "none"
                assert in_child(stream.close) == "none"  # type: ignore[attr-defined]
                assert in_child(chunks.close) == "none"  # type: ignore[attr-defined]
        finally:
            stop.set()
            thread.join()
        chunks.close()
        assert list(stream)
