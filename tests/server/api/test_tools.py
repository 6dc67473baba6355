"""Tools in all three chat APIs: the same calls in each, whole and streamed; what is not valid is refused by name."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitnet_tt
from bitnet_tt import BitNetModel
from bitnet_tt.server.settings import ServerSettings
from tests.server.api.conftest import CHAT, MESSAGES, RESPONSES, USER
from tests.server.conftest import CLIENTS_MISSING, RunningServer, serving

anthropic = pytest.importorskip("anthropic", reason=CLIENTS_MISSING)
openai = pytest.importorskip("openai", reason=CLIENTS_MISSING)

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "people": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS = [("look-up", "Looks up a city.", SCHEMA), ("nothing", "", NOTHING)]
CHOICES = ["auto", "required", "none", "look-up"]

type Calls = list[tuple[str, Any]]


def chat_body(choice: str, *, parallel: bool = True, **more: object) -> dict[str, Any]:
    functions = [{"name": name, "description": text, "parameters": schema} for name, text, schema in TOOLS]
    named = {"type": "function", "function": {"name": choice}}
    return {
        "model": "demo",
        "messages": USER,
        "tools": [{"type": "function", "function": one} for one in functions],
        "tool_choice": choice if choice in ("auto", "required", "none") else named,
        "parallel_tool_calls": parallel,
        "max_tokens": 150,
        **more,
    }


def response_body(choice: str, *, parallel: bool = True, **more: object) -> dict[str, Any]:
    tools = [
        {"type": "function", "name": name, "description": text, "parameters": schema, "strict": True}
        for name, text, schema in TOOLS
    ]
    return {
        "model": "demo",
        "input": USER,
        "tools": tools,
        "tool_choice": choice if choice in ("auto", "required", "none") else {"type": "function", "name": choice},
        "parallel_tool_calls": parallel,
        "max_output_tokens": 150,
        **more,
    }


def message_body(choice: str, *, parallel: bool = True, **more: object) -> dict[str, Any]:
    kinds = {"auto": {"type": "auto"}, "required": {"type": "any"}, "none": {"type": "none"}}
    tool_choice: dict[str, Any] = kinds.get(choice, {"type": "tool", "name": choice})
    if choice != "none":
        tool_choice = tool_choice | {"disable_parallel_tool_use": not parallel}
    return {
        "model": "demo",
        "messages": USER,
        "tools": [{"name": name, "description": text, "input_schema": schema} for name, text, schema in TOOLS],
        "tool_choice": tool_choice,
        "max_tokens": 150,
        **more,
    }


def chat_parts(message: Any) -> tuple[str, Calls]:
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]
    return message.content or "", calls


def response_parts(response: Any) -> tuple[str, Calls]:
    calls = [(one.name, json.loads(one.arguments)) for one in response.output if one.type == "function_call"]
    return response.output_text, calls


def message_parts(message: Any) -> tuple[str, Calls]:
    text = "".join(block.text for block in message.content if block.type == "text")
    return text, [(block.name, block.input) for block in message.content if block.type == "tool_use"]


def complete_seed(server, choice: str, first: int, *, parallel: bool = True) -> int:
    """Return the first seed from a number on whose answer no limit cuts."""
    for seed in range(first, first + 50):
        answer = server.post(CHAT, chat_body(choice, parallel=parallel, seed=seed)).json()
        if answer["choices"][0]["finish_reason"] != "length":
            return seed
    raise AssertionError("every answer is too long")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("choice", CHOICES)
def test_all_apis_give_the_same_calls_whole_and_streamed(
    server, client: openai.OpenAI, claude: anthropic.Anthropic, choice: str, seed: int
) -> None:
    fields: dict[str, Any] = {"extra_body": {"seed": complete_seed(server, choice, 100 * seed, parallel=seed > 0)}}
    body = chat_body(choice, parallel=seed > 0, **fields)
    text, calls = expected = chat_parts(client.chat.completions.create(**body).choices[0].message)
    if choice in ("required", "look-up"):
        assert text == ""
        assert len(calls) >= 1
        assert seed > 0 or len(calls) == 1
    if choice == "look-up":
        assert all(arguments["city"] in ("Paris", "Rome") for _, arguments in calls)
    with client.chat.completions.stream(**body) as stream:
        for _ in stream:
            pass
        assert chat_parts(stream.get_final_completion().choices[0].message) == expected

    body = response_body(choice, parallel=seed > 0, **fields)
    whole = client.responses.create(**body)
    assert response_parts(whole) == expected
    with client.responses.stream(**body) as stream:
        events = list(stream)
        assert response_parts(stream.get_final_response()) == expected
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    done = [event.arguments for event in events if event.type == "response.function_call_arguments.done"]
    assert "".join(deltas) == "".join(done)
    assert [json.loads(arguments) for arguments in done] == [arguments for _, arguments in calls]

    body = message_body(choice, parallel=seed > 0, **fields)
    message = claude.messages.create(**body)
    assert message_parts(message) == expected
    assert message.stop_reason == ("tool_use" if calls else "end_turn")
    with claude.messages.stream(**body) as stream:
        for _ in stream:
            pass
        final = stream.get_final_message()
    assert message_parts(final) == expected
    assert final.stop_reason == message.stop_reason


def test_finish_reasons_and_shapes_of_calls(server) -> None:
    seed = complete_seed(server, "required", 0)
    answer = server.post(CHAT, chat_body("required", seed=seed)).json()["choices"][0]
    assert (answer["message"]["content"], answer["finish_reason"]) == (None, "tool_calls")
    assert answer["message"]["tool_calls"][0]["id"].startswith("call_")
    item = server.post(RESPONSES, response_body("required", seed=seed)).json()["output"][0]
    assert item.keys() == {"id", "status", "type", "call_id", "name", "arguments"}
    assert (item["type"], item["status"]) == ("function_call", "completed")
    block = server.post(MESSAGES, message_body("required", seed=seed)).json()["content"][0]
    assert block.keys() == {"type", "id", "name", "input", "caller"}
    assert block["caller"] == {"type": "direct"}


def test_a_call_that_is_cut_is_told_so(server) -> None:
    choice = server.post(CHAT, chat_body("look-up", max_tokens=25)).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    response = server.post(RESPONSES, response_body("look-up", max_output_tokens=25)).json()
    assert (response["status"], response["output"][-1]["status"]) == ("incomplete", "incomplete")
    message = server.post(MESSAGES, message_body("look-up", max_tokens=25)).json()
    assert message["stop_reason"] == "max_tokens"
    assert isinstance(message["content"][-1].get("input", {}), dict)
    stopped = server.post(CHAT, chat_body("look-up", stop='"people"')).json()["choices"][0]
    assert stopped["finish_reason"] == "stop"
    stopped = server.post(MESSAGES, message_body("look-up", stop_sequences=['"people"'])).json()
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", '"people"')


def test_a_conversation_with_calls_and_results(client: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """Each API takes its own calls back, and makes the same prompt of them."""
    fields: dict[str, Any] = {"extra_body": {"seed": 1}}
    first = client.chat.completions.create(**chat_body("look-up", **fields)).choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "2 <|eot_id|>"} for call in first.tool_calls]
    used = [client.chat.completions.create(**chat_body("auto", **fields) | {"messages": [*USER, first, *results]})]

    items = client.responses.create(**response_body("look-up", **fields)).output
    outputs = [{"type": "function_call_output", "call_id": one.call_id, "output": "2 <|eot_id|>"} for one in items]
    again = client.responses.create(**response_body("auto", **fields) | {"input": [*USER, *items, *outputs]})

    message = claude.messages.create(**message_body("look-up", **fields))
    blocks = [
        {"type": "tool_result", "tool_use_id": one.id, "content": [{"type": "text", "text": "2 <|eot_id|>"}]}
        for one in message.content
    ]
    turns = [*USER, {"role": "assistant", "content": message.content}, {"role": "user", "content": blocks}]
    last = claude.messages.create(**message_body("auto", **fields) | {"messages": turns})
    lengths = [used[0].usage.prompt_tokens, again.usage.input_tokens]
    lengths.append(last.usage.input_tokens + last.usage.cache_read_input_tokens)
    body = message_body("auto")
    counted = claude.messages.count_tokens(
        model="demo", messages=turns, tools=body["tools"], tool_choice=body["tool_choice"]
    )
    assert lengths == [counted.input_tokens] * 3
    without = claude.messages.count_tokens(model="demo", messages=turns)
    assert without.input_tokens < counted.input_tokens
    # The result of a tool that failed says so, and text may follow results.
    sizes = []
    for more in ({}, {"is_error": True}):
        failed = [blocks[0] | more, {"type": "text", "text": "Try again."}]
        turns[-1] = {"role": "user", "content": failed}
        sizes.append(claude.messages.count_tokens(model="demo", messages=turns).input_tokens)
    assert sizes[0] < sizes[1]


def test_the_runner_of_the_anthropic_client(claude: anthropic.Anthropic) -> None:
    """It asks for a conversation that the server stores, and does without one when it is told that there is none."""
    asked = []

    @anthropic.beta_tool
    def look_up(city: Literal["Paris", "Rome"]) -> str:
        """Look up a city."""
        asked.append(city)
        return "2 million people"

    choice = {"type": "any", "disable_parallel_tool_use": True}
    options = {"model": "demo", "max_tokens": 60, "messages": USER, "tool_choice": choice, "max_iterations": 2}
    message = claude.beta.messages.tool_runner(tools=[look_up], **options).until_done()
    assert message.stop_reason == "tool_use"
    assert len(asked) == 2
    assert set(asked) <= {"Paris", "Rome"}


def test_tools_beside_a_format(server) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["<tool_call>"]}}}
    for seed in range(4):
        message = server.post(CHAT, chat_body("auto", response_format=form, seed=seed)).json()["choices"][0]["message"]
        assert message["content"] == '"<tool_call>"' or message["tool_calls"]


def test_allowed_tools(server) -> None:
    tool = {"type": "function", "function": {"name": "nothing"}}
    choice: dict[str, Any] = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tool]}}
    message = server.post(CHAT, chat_body("auto") | {"tool_choice": choice}).json()["choices"][0]["message"]
    assert {call["function"]["name"] for call in message["tool_calls"]} == {"nothing"}
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "nothing"}]}
    response = server.post(RESPONSES, response_body("auto") | {"tool_choice": choice}).json()
    assert {item["name"] for item in response["output"]} == {"nothing"}
    assert response["tool_choice"] == choice


def of_user(block: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [block]}]}


BAD_SCHEMA = {"type": "object", "properties": {"a": {"not": {}}}}


@pytest.mark.parametrize(
    ("path", "more", "param", "message"),
    [
        (CHAT, {"tools": [chat_body("auto")["tools"][0]] * 2}, "tools", "two functions"),
        (CHAT, {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools", "tool name"),
        (CHAT, {"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "'custom'"),
        (CHAT, {"tools": [{"type": "function", "function": {"name": "x", "parameters": BAD_SCHEMA}}]}, "tools", "'x'"),
        (
            CHAT,
            {
                "tools": [{"type": "function", "function": {"name": "x", "parameters": BAD_SCHEMA}}],
                "response_format": {"type": "json_object"},
            },
            "tools",
            "'x'",
        ),
        (CHAT, {"json_schema": {"not": {}}}, "json_schema", "cannot be enforced"),
        (CHAT, {"tools": [], "tool_choice": "required"}, "tool_choice", "no tools"),
        (CHAT, {"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "'x'"),
        (CHAT, {"structured_outputs": {"regex": "a"}}, "structured_outputs.regex", "cannot be combined"),
        (CHAT, {"ignore_eos": True}, "ignore_eos", "cannot be combined"),
        (CHAT, {"functions": [{}]}, "functions", "older form"),
        (RESPONSES, {"tools": [{"type": "web_search"}]}, "tools[0].type", "'web_search'"),
        (RESPONSES, {"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type", "'mcp'"),
        (RESPONSES, {"tools": [{"type": "function"}]}, "tools[0].name", "required"),
        (RESPONSES, {"tools": [{"type": "function", "name": "x", "parameters": BAD_SCHEMA}]}, "tools", "'x'"),
        (RESPONSES, {"tool_choice": {"type": "function", "name": "x"}}, "tool_choice", "'x'"),
        (RESPONSES, {"input": [{"type": "reasoning"}]}, "input[0].type", "'reasoning'"),
        (RESPONSES, {"input": [{"type": "function_call", "name": "x"}]}, "input[0].call_id", "required"),
        (MESSAGES, {"tools": [{"type": "web_search_20250305", "name": "x"}]}, "tools[0].type", "the client runs them"),
        (MESSAGES, {"tools": [{"name": "x"}]}, "tools[0].input_schema", "required"),
        (MESSAGES, {"tools": [{"name": "x", "input_schema": BAD_SCHEMA}]}, "tools", "'x'"),
        (MESSAGES, {"tools": [{"name": "x", "input_schema": {"type": "array"}}]}, "tools", "'array'"),
        (MESSAGES, {"tool_choice": {"type": "tool"}}, "tool_choice", "name must be given"),
        (MESSAGES, {"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice", "'x'"),
        (MESSAGES, of_user({"type": "image"}), "messages[0].content[0].type", "'image'"),
        (MESSAGES, of_user({"type": "tool_use", "id": "a", "name": "b", "input": {}}), "messages[0]", "no blocks"),
        (
            MESSAGES,
            {"messages": [*USER, {"role": "system", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]},
            "messages[1]",
            "the system has no blocks",
        ),
        (MESSAGES, of_user({"type": "tool_result"}), "messages[0].content[0].tool_use_id", "required"),
    ],
)
def test_what_cannot_be_honoured_is_refused(server, path: str, more: dict, param: str, message: str) -> None:
    make = {CHAT: chat_body, RESPONSES: response_body, MESSAGES: message_body}[path]
    response = server.post(path, make("auto") | more)
    error = response.json()["error"]
    assert response.status_code == 400
    assert message in error["message"]
    if path == MESSAGES:
        assert error["type"] == "invalid_request_error"
        assert param in error["message"]
    else:
        assert error["param"] == param


LLAMA = """{% for message in messages %}{{ message.role + ': ' }}
{% if message.tool_calls %}{% set call = message.tool_calls[0].function %}
{{ '{"name": "' + call.name + '", "parameters": ' + call.arguments | tojson + '}' }}
{% else %}{{ message.content }}{% endif %}{{ '<|eot_id|>' }}{% endfor %}
{{ tools | tojson if tools else '' }}{# {"name": name, "parameters": object} #}assistant: """
UNKNOWN = "{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}<tools>{{ tools }}</tools>{% endif %}"


@pytest.fixture(scope="module", params=["llama", "unknown"])
def with_template(request, tmp_path_factory) -> Iterator[tuple[str, RunningServer]]:
    """The demo with a chat template that shows tools itself, and the name of the template."""
    folder = tmp_path_factory.mktemp("model")
    for path in (Path(bitnet_tt.__file__).parent / "assets/demo").iterdir():
        shutil.copy(path, folder)
    settings = folder / "tokenizer_config.json"
    template = {"llama": LLAMA, "unknown": UNKNOWN}[request.param]
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"chat_template": template}))
    with BitNetModel.from_pretrained(folder) as model, serving(model, ServerSettings()) as server:
        yield request.param, server


def test_a_template_with_tools_of_its_own(with_template: tuple[str, RunningServer]) -> None:
    name, server = with_template
    response = server.post(CHAT, chat_body("look-up", seed=1))
    if name == "unknown":
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "tools"
        assert "cannot read" in response.json()["error"]["message"]
        assert server.post(CHAT, chat_body("none", seed=1)).status_code == 200
        return
    message = response.json()["choices"][0]["message"]
    (call,) = message["tool_calls"]  # this syntax has one call
    assert json.loads(call["function"]["arguments"])["city"] in ("Paris", "Rome")
    again = server.post("/apply-template", {"messages": [*USER, message], "tools": chat_body("auto")["tools"]}).json()
    assert f'{{"name": "look-up", "parameters": {call["function"]["arguments"]}}}' in again["prompt"]
    assert '"description": "Looks up a city."' in again["prompt"]


@pytest.mark.parametrize("depth", [90, 300, 900, 980, 2000, 20_000])
def test_deep_values_are_answered_or_refused_by_name(server, depth: int) -> None:
    deep = "".join(['{"properties":{"a":' * (depth // 2), "{}", "}}" * (depth // 2)])
    call = {"type": "tool_use", "id": "a", "name": "b", "input": "DEEP"}
    turns = [*USER, {"role": "assistant", "content": [call]}, *USER]
    function = {"name": "x", "parameters": "DEEP"}
    tools = [{"name": "x", "input_schema": "DEEP"}]
    for path, body in [
        (CHAT, {"messages": USER, "tools": [{"type": "function", "function": function}]}),
        (CHAT, {"messages": USER, "json_schema": "DEEP"}),
        ("/apply-template", {"messages": USER, "tools": [{"type": "function", "function": function}]}),
        (RESPONSES, {"input": USER, "tools": [{"type": "function", **function}]}),
        (RESPONSES, {"input": USER, "text": {"format": {"type": "json_schema", "name": "x", "schema": "DEEP"}}}),
        (MESSAGES, {"messages": USER, "max_tokens": 2, "tools": tools}),
        (MESSAGES, {"messages": turns, "max_tokens": 2}),
        (MESSAGES + "/count_tokens", {"messages": USER, "tools": tools}),
        (MESSAGES + "/count_tokens", {"messages": turns}),
    ]:
        content = json.dumps({"model": "demo", **body}).replace('"DEEP"', deep)
        response = httpx.post(server.url + path, content=content, headers={"content-type": "application/json"})
        assert response.status_code in (200, 400), (path, response.text[:200])
        assert response.status_code == 200 or response.json()["error"]["message"]


words = st.sampled_from(["type", "enum", "items", "properties", "required", "anyOf", "not", "$ref", "pattern", "x"])
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 9), st.sampled_from(["object", "string", "integer", "x", "#"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(schema=st.dictionaries(words, values, max_size=4))
def test_any_schema_of_arguments_gives_json_or_a_clear_refusal(server, schema: dict) -> None:
    tool = {"type": "function", "function": {"name": "x", "parameters": schema}}
    body = {
        "messages": USER,
        "tools": [tool],
        "tool_choice": "required",
        "max_tokens": 60,
        "parallel_tool_calls": False,
    }
    response = server.post(CHAT, body)
    if response.status_code == 400:
        assert response.json()["error"]["param"] == "tools"
        return
    assert response.status_code == 200
    choice = response.json()["choices"][0]
    if choice["finish_reason"] == "tool_calls":
        assert isinstance(json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]), dict)
