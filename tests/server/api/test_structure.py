"""Formats and tools of chats: answers fit them, whole and streamed, and what cannot be enforced is refused by name."""

import json

import pytest

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "What is the capital of France?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "people": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
TOOL = {"type": "function", "function": {"name": "look-up", "description": "Looks up a city.", "parameters": SCHEMA}}
OTHER = {"type": "function", "function": {"name": "nothing", "parameters": {"type": "object", "properties": {}}}}


def body(**more: object) -> dict:
    return {"model": "demo", "messages": USER, "temperature": 1, "seed": 3, "max_tokens": 120, **more}


def deltas(server, **more: object) -> list[dict]:
    """Return the choices of the events of a stream."""
    *events, done = server.events(CHAT, body(stream=True, **more))
    assert done == "[DONE]"
    return [choice for event in events for choice in json.loads(event)["choices"]]


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_fits_its_schema(server, seed: int) -> None:
    choice = server.post(CHAT, body(response_format=FORMAT, seed=seed)).json()["choices"][0]
    answer = json.loads(choice["message"]["content"])
    assert answer.keys() == {"city", "people"}
    assert answer["city"] in ("Paris", "Rome")
    assert choice["finish_reason"] == "stop"


def test_each_choice_and_a_stream_fit_too(server) -> None:
    choices = server.post(CHAT, body(response_format=FORMAT, n=3)).json()["choices"]
    assert all(json.loads(choice["message"]["content"])["city"] for choice in choices)
    streamed = "".join(choice["delta"].get("content", "") for choice in deltas(server, response_format=FORMAT))
    assert streamed == choices[0]["message"]["content"]


def test_a_json_object(server) -> None:
    choice = server.post(CHAT, body(response_format={"type": "json_object"}, max_tokens=400)).json()["choices"][0]
    assert choice["message"]["content"].startswith("{")
    if choice["finish_reason"] == "stop":
        assert isinstance(json.loads(choice["message"]["content"]), dict)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look-up"}}])
def test_a_required_call(server, choice: object) -> None:
    tools = [TOOL] if choice == "required" else [OTHER, TOOL]
    answer = server.post(CHAT, body(tools=tools, tool_choice=choice, parallel_tool_calls=False)).json()["choices"][0]
    (call,) = answer["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "look-up")
    assert json.loads(call["function"]["arguments"])["city"] in ("Paris", "Rome")
    assert (answer["message"]["content"], answer["finish_reason"]) == (None, "tool_calls")


def test_a_streamed_call(server) -> None:
    options = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
    whole = server.post(CHAT, body(**options)).json()["choices"][0]["message"]["tool_calls"][0]
    streamed = deltas(server, **options)
    parts = [call for choice in streamed for call in choice["delta"].get("tool_calls", ())]
    assert parts[0]["function"] == {"name": "look-up", "arguments": ""}
    assert parts[0]["id"].startswith("call_")
    assert "".join(part["function"]["arguments"] for part in parts) == whole["function"]["arguments"]
    assert streamed[-1]["finish_reason"] == "tool_calls"


def test_without_a_call_the_text_is_all(server) -> None:
    answer = server.post(CHAT, body(tools=[TOOL], temperature=0)).json()["choices"][0]["message"]
    assert answer["content"] or answer["tool_calls"]
    none = server.post(CHAT, body(tools=[TOOL], tool_choice="none", temperature=0)).json()["choices"][0]["message"]
    assert none == server.post(CHAT, body(temperature=0)).json()["choices"][0]["message"]


def test_a_conversation_with_calls_and_results(server) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look-up", "arguments": '{"city": "Paris"}'}}
    messages = [
        *USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "2 million <|eot_id|>"},
    ]
    response = server.post(CHAT, body(messages=messages, tools=[TOOL]))
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("more", "param", "message"),
    [
        ({"response_format": {"type": "json_schema"}}, "response_format", "json_schema must be given"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}},
            "response_format",
            "cannot be enforced",
        ),
        ({"response_format": FORMAT, "tools": [TOOL]}, "response_format", "cannot be combined"),
        ({"response_format": FORMAT, "ignore_eos": True}, "ignore_eos", "cannot be combined"),
        ({"tools": [TOOL, TOOL]}, "tools", "two functions"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools", "tool name"),
        ({"tool_choice": "required"}, "tool_choice", "no tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "'x'"),
        ({"functions": [{}]}, "functions", "older form"),
        ({"messages": [{"role": "assistant"}]}, "messages", "content is missing"),
    ],
)
def test_what_cannot_be_honoured_is_refused(server, more: dict, param: str, message: str) -> None:
    response = server.post(CHAT, body(**more))
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["param"].startswith(param)
    assert message in error["message"]
