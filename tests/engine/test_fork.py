"""A process that was forked while a thread generates gets a clear error at once, and never waits."""

import threading

from bitnet_tt import BitNetModel
from bitnet_tt.backends.base import FORKED
from tests.forked import in_child

ERROR = f"DeviceError: {FORKED}"


def test_a_child_of_a_busy_process_gets_the_error_at_once() -> None:
    with BitNetModel.from_pretrained("demo") as model:
        stream = model.stream("Once")
        next(stream)
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
                    assert in_child(use) == ERROR
                assert in_child(lambda: list(stream)) == ERROR
                assert in_child(model.close) == "none"
                assert in_child(stream.close) == "none"  # type: ignore[attr-defined]
        finally:
            stop.set()
            thread.join()
        assert list(stream)
