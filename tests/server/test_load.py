"""Clients that leave, do not read or send too much: others do not notice, and nothing is left over.

`tests/tools/server_load` has crowds of such clients.
"""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio.to_thread
import httpx
import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.server.settings import Limits, ServerSettings
from tests.engine.small_engine import wait_for
from tests.server.conftest import serving

TEXT = "/v1/completions"
LONG = {"model": "demo", "prompt": "Once", "max_tokens": 480, "ignore_eos": True, "n": 16}


@pytest.fixture
def slow_steps(demo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each step of the model take 0.3 s."""
    compute = demo.backend.candidates

    def candidates(*arguments: object) -> object:
        time.sleep(0.3)
        return compute(*arguments)

    monkeypatch.setattr(demo.backend, "candidates", candidates)


def is_idle(server) -> bool:
    stats = server.model.engine.stats()
    load = server.context.service.load()
    return (stats.running, stats.waiting, load.running, load.waiting, load.used_blocks) == (0, 0, 0, 0, 0)


def assert_cancelled(server) -> None:
    """Wait for the one request in the log, and check that it did not run to its end."""
    [line] = server.logged()
    assert line["status"] == 499
    assert "cancelled" in line["finish_reasons"]
    assert line["completion_tokens"] < 16 * 480
    wait_for(lambda: is_idle(server))


def test_a_stream_whose_client_leaves_ends(serve) -> None:
    with serve() as server:
        with httpx.stream("POST", server.url + TEXT, json=LONG | {"stream": True}) as response:
            next(response.iter_lines())
        assert_cancelled(server)


def test_a_request_whose_client_leaves_ends(serve) -> None:
    with serve() as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(server.url + TEXT, json=LONG, timeout=0.2)
        assert_cancelled(server)


@pytest.mark.usefixtures("slow_steps")
def test_a_client_may_leave_before_the_first_token(serve) -> None:
    with serve() as server:
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(server.url + TEXT, json={"model": "demo", "prompt": [5] * 400, "max_tokens": 100}, timeout=0.1)
        server.logged()
        wait_for(lambda: is_idle(server))
        assert time.monotonic() - started < 10  # 100 steps would take 30 s


@pytest.mark.usefixtures("slow_steps")
def test_comments_keep_a_stream_alive_until_the_first_token(serve) -> None:
    with serve(keep_alive_seconds=0.05) as server:
        text = server.post(TEXT, {"prompt": "Once", "max_tokens": 1, "stream": True}).text
    assert text.startswith(": keep-alive\n\n")
    assert text.endswith("data: [DONE]\n\n")


def test_a_reader_that_does_not_read_loses_its_connection(serve) -> None:
    with serve(limits=Limits(write_seconds=0.5)) as server:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
            request = httpx.Request("POST", server.url + TEXT, json=LONG | {"stream": True, "logprobs": 20})
            head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            slow.sendall(f"POST {TEXT} HTTP/1.1\r\n{head}\r\n".encode() + request.content)
            # Others are answered meanwhile.
            assert server.post(TEXT, {"prompt": "Once", "max_tokens": 2}).status_code == 200
            wait_for(lambda: any(line["status"] == 499 for line in server.log))
        wait_for(lambda: is_idle(server))


def test_a_full_queue_is_429(serve) -> None:
    with serve(max_batch_size=1, limits=Limits(queue=1)) as server:
        assert server.post(TEXT, {"prompt": ["a", "b"], "max_tokens": 1}).status_code == 200
        too_many = server.post(TEXT, {"prompt": ["a", "b", "c"], "max_tokens": 1})
        assert too_many.status_code == 400  # it can never fit
        server.context.service.admit(1)
        response = server.post(TEXT, {"prompt": ["a", "b"], "max_tokens": 1})
        assert response.status_code == 429
        assert response.json()["error"]["code"] == "queue_full"
        assert int(response.headers["retry-after"]) > 0
        error = server.post("/v1/messages", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1})
        assert error.status_code == 200  # one place is left
        server.context.service.admit(1)
        assert server.get("/ready").status_code == 503
        error = server.post("/v1/messages", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1})
        assert error.json()["error"]["type"] == "rate_limit_error"
        server.context.service.release()
        server.context.service.release()
        assert server.get("/ready").status_code == 200


def test_bodies_that_are_too_large_or_too_slow_are_refused(serve) -> None:
    with serve(limits=Limits(body_bytes=1000, body_seconds=0.2)) as server:
        for body in ({"prompt": "x" * 1000}, {"prompt": ["x"] * 400}):
            assert server.post(TEXT, body).status_code == 413

        def chunks() -> object:
            for _ in range(20):
                yield b"x" * 100

        headers = {"content-type": "application/json"}
        assert httpx.post(server.url + TEXT, content=chunks(), headers=headers).status_code == 413
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as slow:
            slow.sendall(f"POST {TEXT} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{{".encode())
            assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_long_texts_are_encoded_one_at_a_time(serve, demo, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = demo.tokenizer.encode
    active: list[str] = []
    most: list[int] = []

    def slowly(text: str, **options: object) -> object:
        active.append(text)
        most.append(len(active))
        time.sleep(0.05)
        active.remove(text)
        return encode(text, **options)

    monkeypatch.setattr(demo.tokenizer, "encode", slowly)
    with serve() as server, ThreadPoolExecutor(4) as clients:
        body = {"content": "fox " * 20_000}
        counts = clients.map(lambda _: len(server.post("/tokenize", body).json()["tokens"]), range(4))
        assert len(set(counts)) == 1
    assert most == [1, 1, 1, 1]


def test_a_request_needs_no_thread_of_its_own(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    hops: list[object] = []
    run_sync = anyio.to_thread.run_sync

    async def recorded(function: object, *arguments: object, **options: object) -> object:
        hops.append(function)
        return await run_sync(function, *arguments, **options)

    monkeypatch.setattr(anyio.to_thread, "run_sync", recorded)
    with serve() as server:
        assert server.post(TEXT, {"prompt": "Once", "max_tokens": 2}).status_code == 200
    assert hops == []


def test_a_hang_makes_the_server_unready(serve, demo, monkeypatch: pytest.MonkeyPatch) -> None:
    compute, works = demo.backend.candidates, threading.Event()

    def candidates(*arguments: object) -> object:
        works.wait()
        return compute(*arguments)

    monkeypatch.setattr(demo.backend, "candidates", candidates)
    with serve(limits=Limits(hang_seconds=0.05)) as server, ThreadPoolExecutor(1) as client:
        answer = client.submit(server.post, TEXT, {"prompt": "Once", "max_tokens": 5})
        try:
            wait_for(lambda: server.get("/ready").status_code == 503)
            assert "the current step takes" in server.get("/ready").json()["reason"]
            assert server.get("/health").status_code == 200
            assert "bitnet_requests_running 1.0" in server.get("/metrics").text
        finally:
            works.set()
        assert answer.result().status_code == 200
        wait_for(lambda: server.get("/ready").status_code == 200)


def test_without_its_engine_the_server_is_unready() -> None:
    model = BitNetModel.from_pretrained("demo")
    with serving(model, ServerSettings()) as server:
        assert server.get("/ready").status_code == 200
        model.close()
        assert server.get("/ready").status_code == 503
        assert "closed" in server.get("/ready").json()["reason"]


def test_the_log_has_text_only_if_asked_for(serve) -> None:
    body = {"prompt": "A secret", "max_tokens": 2, "temperature": 0}
    with serve() as server:
        server.post(TEXT, body)
        assert "secret" not in str(server.logged())
    with serve(log_text=True) as server:
        text = server.post(TEXT, body).json()["choices"][0]["text"]
        [line] = server.logged()
        assert (line["prompt"], line["answer"]) == ("A secret", [text])


def test_a_limit_of_new_tokens(serve) -> None:
    with serve(limits=Limits(new_tokens=3)) as server:
        chat = {"messages": [{"role": "user", "content": "Tell me a story."}]}
        assert server.post("/v1/chat/completions", chat).json()["usage"]["completion_tokens"] == 3
        response = server.post("/v1/chat/completions", chat | {"max_completion_tokens": 4})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "max_completion_tokens"
