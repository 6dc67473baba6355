"""Whatever is wrong with a request, the answer is 4xx in OpenAI's shape, and names the field."""

import json

import httpx
import pytest

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
HELLO = [{"role": "user", "content": "Hello"}]
JSON = {"content-type": "application/json"}


def error_of(response: httpx.Response) -> dict:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"null", "invalid_json"),
        (b'"text"', "invalid_json"),
        (b"{}x", "invalid_json"),
        (b'{"messages": "\xff"}', "invalid_json"),
        (b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', "invalid_json"),  # half of a surrogate pair
        (b"[" * 100_000, "invalid_json"),
        (b'{"seed": ' + b"9" * 10_000 + b"}", "invalid_json"),
        (b'{"model": "demo", "messages": [], "temperature": NaN}', "invalid_value"),
        (b'{"model": "demo", "messages": [], "temperature": 1e999}', "invalid_value"),
    ],
)
def test_bodies_that_are_not_json_are_400(server, body: bytes, code: str) -> None:
    response = httpx.post(server.url + CHAT, content=body, headers=JSON)
    assert response.status_code == 400
    assert error_of(response)["code"] == code


def test_a_body_without_its_content_type_is_told_so(server) -> None:
    response = httpx.post(server.url + CHAT, content=json.dumps({"messages": HELLO}))
    assert response.status_code == 415
    assert "Content-Type: application/json" in error_of(response)["message"]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, {"model": None, "messages": HELLO}, "model"),
        (CHAT, {"model": 5, "messages": HELLO}, "model"),
        (CHAT, {}, "messages"),
        (CHAT, {"messages": None}, "messages"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": [{}]}, "messages[0].role"),
        (CHAT, {"messages": ["Hello"]}, "messages[0]"),
        (CHAT, {"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        (CHAT, {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (CHAT, {"messages": [{"role": "user", "content": "\ud800"}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].id"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content.text"),
        (CHAT, {"messages": HELLO, "temperature": "1"}, "temperature"),
        (CHAT, {"messages": HELLO, "temperature": 3}, "temperature"),
        (CHAT, {"messages": HELLO, "top_p": 0}, "top_p"),
        (CHAT, {"messages": HELLO, "n": 0}, "n"),
        (CHAT, {"messages": HELLO, "n": 17}, "n"),
        (CHAT, {"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        (CHAT, {"messages": HELLO, "max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        (CHAT, {"messages": HELLO, "max_tokens": 1.5}, "max_tokens"),
        (CHAT, {"messages": HELLO, "max_tokens": True}, "max_tokens"),
        (CHAT, {"messages": HELLO, "seed": 2**64}, "seed"),
        (CHAT, {"messages": HELLO, "stop": ""}, "stop"),
        (CHAT, {"messages": HELLO, "stop": ["x"] * 17}, "stop"),
        (CHAT, {"messages": HELLO, "stop": "x" * 2000}, "stop"),
        (CHAT, {"messages": HELLO, "top_logprobs": 2}, "top_logprobs"),
        (CHAT, {"messages": HELLO, "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        (CHAT, {"messages": HELLO, "stream": True, "stream_options": {"x": 1}}, "stream_options.x"),
        (CHAT, {"messages": HELLO, "stream_options": {"include_usage": True}}, "stream_options"),
        (TEXT, {"prompt": "x", "stream": False, "stream_options": {}}, "stream_options"),
        (CHAT, {"messages": HELLO, "stop_token_ids": [-1]}, "stop_token_ids"),
        (CHAT, {"messages": HELLO, "logit_bias": {"x": 1}}, "logit_bias"),
        (CHAT, {"messages": HELLO, "tempreature": 1}, "tempreature"),
        (CHAT, {"messages": HELLO, "max-tokens": 1}, "max-tokens"),
        (CHAT, {"messages": [HELLO[0] | {"a b": 1}]}, "messages[0].a b"),
        (CHAT, {"messages": HELLO, "repetition_penalty": 1e-300}, "repetition_penalty"),
        (TEXT, {"prompt": "x", "\ud800": 1}, None),
        (CHAT, {"messages": HELLO, "tools": [{"type": "function"}]}, "tools[0].function"),
        (CHAT, {"messages": HELLO, "response_format": {"type": "xml"}}, "response_format.type"),
        (CHAT, {"messages": HELLO, "response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
        (CHAT, {"messages": HELLO, "store": True}, "store"),
        (TEXT, {}, "prompt"),
        (TEXT, {"prompt": []}, "prompt"),
        (TEXT, {"prompt": [[]]}, "prompt"),
        (TEXT, {"prompt": ["a", 1]}, "prompt"),
        (TEXT, {"prompt": [True]}, "prompt"),
        (TEXT, {"prompt": {"a": 1}}, "prompt"),
        (TEXT, {"prompt": [5000]}, "prompt"),
        (TEXT, {"prompt": [-1]}, "prompt"),
        (TEXT, {"prompt": ["a"] * 65}, "prompt"),
        (TEXT, {"prompt": "a", "suffix": "b"}, "suffix"),
        (TEXT, {"prompt": "a", "best_of": 2}, "best_of"),
        (TEXT, {"prompt": ["a"] * 64, "n": 16}, "n"),
    ],
)
def test_fields_that_are_wrong_are_named(server, path: str, body: dict, param: str | None) -> None:
    response = httpx.post(server.url + path, content=json.dumps({"model": "demo"} | body), headers=JSON)
    assert response.status_code == 400
    error = error_of(response)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


def test_a_prompt_that_is_too_long_gets_both_numbers(server) -> None:
    response = server.post(TEXT, {"prompt": [5] * 600})
    error = error_of(response)
    assert response.status_code == 400
    assert error["code"] == "context_length_exceeded"
    assert "600 tokens" in error["message"]
    assert "512" in error["message"]


def test_another_model_is_404(server) -> None:
    response = server.post(CHAT, {"model": "gpt-4", "messages": HELLO})
    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"
    assert server.get("/v1/models/gpt-4").status_code == 404


def test_unknown_paths_and_methods_have_the_shape_too(server) -> None:
    response = server.get("/v1/nothing")
    assert response.status_code == 404
    assert "/v1/nothing" in error_of(response)["message"]
    response = server.get(CHAT)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    error_of(response)
    response = httpx.delete(server.url + "/nothing")
    assert response.status_code == 404
    error_of(response)


def test_fields_that_change_nothing_are_accepted(server) -> None:
    harmless = {"user": "u", "metadata": {"a": "b"}, "store": False, "tools": [], "tool_choice": "none", "n": None}
    harmless |= {"response_format": {"type": "text"}, "presence_penalty": 0, "logit_bias": {}, "service_tier": "auto"}
    assert server.post(CHAT, {"messages": HELLO, "max_tokens": 1, **harmless}).status_code == 200
