"""A request that waits or runs too long gets an error that says so, and its place is free for others."""

import json
import threading
import time

import pytest

from bitnet_tt.errors import ConfigError
from bitnet_tt.server.settings import Limits
from tests.engine.small_engine import wait_for
from tests.server.test_load import is_idle

TEXT = "/v1/completions"
LONG = {"prompt": "Once", "max_tokens": 400, "ignore_eos": True}
LIMITS = Limits(request_seconds=1.0)


@pytest.fixture(autouse=True)
def slow_steps(demo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each step of the model take 0.05 s."""
    compute = demo.backend.candidates

    def candidates(*arguments: object) -> object:
        time.sleep(0.05)
        return compute(*arguments)

    monkeypatch.setattr(demo.backend, "candidates", candidates)


def test_a_request_gets_504(serve) -> None:
    with serve(limits=LIMITS) as server:
        response = server.post(TEXT, LONG)
        assert response.status_code == 504
        error = response.json()["error"]
        assert (error["type"], error["code"]) == ("server_error", "request_timeout")
        assert "within 1 seconds" in error["message"]
        assert server.logged()[0]["finish_reasons"] == ["timeout"]
        wait_for(lambda: is_idle(server))
        assert server.post(TEXT, LONG | {"max_tokens": 2}).status_code == 200


def test_anthropics_clients_get_their_own_shape(serve) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 400}
    with serve(limits=Limits(request_seconds=0.01)) as server:
        response = server.post("/v1/messages", body)
        assert (response.status_code, response.json()["error"]["type"]) == (504, "timeout_error")


def test_a_stream_ends_with_an_error_event(serve) -> None:
    with serve(limits=LIMITS) as server:
        *texts, error, done = server.events(TEXT, LONG | {"stream": True})
        assert texts
        assert all(json.loads(text)["choices"][0]["finish_reason"] is None for text in texts)
        assert json.loads(error)["error"]["code"] == "request_timeout"
        assert done == "[DONE]"


def test_the_wait_in_the_queue_counts(serve) -> None:
    with serve(limits=LIMITS, max_batch_size=8) as server:
        threads = [threading.Thread(target=server.post, args=(TEXT, LONG | {"n": 8})) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [line["status"] for line in server.logged(2)] == [504, 504]


def test_a_prompt_that_is_scored_has_the_same_limit(serve) -> None:
    body = {"prompt": "Once upon a time", "echo": True, "logprobs": 1, "max_tokens": 0}
    with serve(limits=Limits(request_seconds=0.01)) as server:
        assert server.post(TEXT, body).status_code == 504


def test_the_limit_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="request_seconds"):
        Limits(request_seconds=0)
