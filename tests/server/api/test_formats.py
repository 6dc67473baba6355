"""Answers with a format fit it, whole and streamed, in every API; what cannot be enforced is refused by name."""

import json
import re
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.api.conftest import CHAT, MESSAGES, RESPONSES, TEXT, USER
from tests.server.conftest import CLIENTS_MISSING

anthropic = pytest.importorskip("anthropic", reason=CLIENTS_MISSING)
openai = pytest.importorskip("openai", reason=CLIENTS_MISSING)

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "people": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
JSON = {"content-type": "application/json"}
OPTIONS: dict[str, Any] = {"temperature": 1, "seed": 3, "max_tokens": 120}


def chat(**more: object) -> dict[str, Any]:
    return {"messages": USER, **OPTIONS, **more}


def text(**more: object) -> dict[str, Any]:
    return {"prompt": "A city:", **OPTIONS, **more}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_fits_its_schema(server, seed: int) -> None:
    choice = server.post(CHAT, chat(response_format=FORMAT, seed=seed)).json()["choices"][0]
    answer = json.loads(choice["message"]["content"])
    assert answer.keys() == {"city", "people"}
    assert answer["city"] in ("Paris", "Rome")
    assert choice["finish_reason"] == "stop"


def test_each_choice_and_a_stream_fit_too(server) -> None:
    choices = server.post(CHAT, chat(response_format=FORMAT, n=3)).json()["choices"]
    assert all(json.loads(choice["message"]["content"])["city"] for choice in choices)
    *events, _ = server.events(CHAT, chat(response_format=FORMAT, stream=True))
    streamed = [choice["delta"].get("content", "") for event in events for choice in json.loads(event)["choices"]]
    assert "".join(streamed) == choices[0]["message"]["content"]


def test_a_json_object(server) -> None:
    choice = server.post(CHAT, chat(response_format={"type": "json_object"}, max_tokens=400)).json()["choices"][0]
    assert choice["message"]["content"].startswith("{")
    if choice["finish_reason"] == "stop":
        assert isinstance(json.loads(choice["message"]["content"]), dict)


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"structured_outputs": {"regex": "[0-9]{3}-[a-c]+x"}}, "[0-9]{3}-[a-c]+x"),
        ({"structured_outputs": {"choice": ["yes (a+b)", "日本 <no>", "#-~&"]}}, r"yes \(a\+b\)|日本 <no>|#-~&"),
        ({"structured_outputs": {"grammar": 'start: "a" start | "b"'}}, "a*b"),
        ({"structured_outputs": {"json": {"enum": ["é", 5]}}}, '"é"|5'),
        ({"structured_outputs": {"json": '{"enum": ["é", 5]}'}}, '"é"|5'),
        ({"structured_outputs": {"json_object": True}}, r"\{.*"),
        ({"structured_outputs": {"json_object": False, "choice": ["a"]}}, "a"),
        ({"json_schema": {"enum": ["é", 5]}}, '"é"|5'),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"enum": [7]}}}}, "7"),
    ],
)
def test_other_formats_of_chats_and_completions(server, fields: dict, pattern: str) -> None:
    answer = server.post(CHAT, chat(**fields)).json()["choices"][0]["message"]["content"]
    assert re.fullmatch(pattern, answer, re.DOTALL)
    answers = server.post(TEXT, text(**fields, n=2)).json()["choices"]
    assert all(re.fullmatch(pattern, one["text"], re.DOTALL) for one in answers)


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"response_format": {"type": "json_schema"}}, "response_format", "json_schema must be given"),
        ({"response_format": FORMAT, "ignore_eos": True}, "ignore_eos", "cannot be combined"),
        ({"response_format": FORMAT, "json_schema": SCHEMA}, "json_schema", "both give a format"),
        ({"json_schema": {"not": {}}}, "json_schema", "cannot be enforced"),
        ({"json_schema": nested(300)}, "json_schema", "recursion limit"),
        ({"json_schema": {"enum": ["x" * 1_100_000]}}, "json_schema", "this server takes 1048576"),
        ({"json_schema": {"enum": ["\ud800"]}}, "json_schema", "cannot be enforced"),
        ({"json_schema": {"enum": []}}, "json_schema", "Unsatisfiable"),
        ({"structured_outputs": {}}, "structured_outputs", "exactly one"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs", "exactly one"),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs.json", "not JSON"),
        ({"structured_outputs": {"json": "[" * 50_000}}, "structured_outputs.json", "not JSON"),
        ({"structured_outputs": {"json": "5"}}, "structured_outputs.json", "an object"),
        ({"structured_outputs": {"regex": "("}}, "structured_outputs.regex", "cannot be enforced"),
        ({"structured_outputs": {"regex": "\ud800"}}, "structured_outputs.regex", "not valid Unicode"),
        ({"structured_outputs": {"regex": "(" * 9000}}, "structured_outputs.regex", "cannot be enforced"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice", "at least 1"),
        ({"structured_outputs": {"grammar": "start: missing"}}, "structured_outputs.grammar", "cannot be enforced"),
        ({"structured_outputs": {"grammar": 'root ::= "a"'}}, "structured_outputs.grammar", "Lark"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag", "give json, regex"),
        ({"grammar": 'root ::= "a"'}, "grammar", "structured_outputs.grammar"),
        ({"guided_regex": "a"}, "guided_regex", "structured_outputs.regex"),
    ],
)
def test_what_cannot_be_enforced_is_refused(server, fields: dict, param: str, message: str) -> None:
    for path, body in ((CHAT, chat(**fields)), (TEXT, text(**fields))):
        # As bytes: half of a surrogate pair is JSON in ASCII, but no UTF-8 text.
        response = httpx.post(server.url + path, content=json.dumps({"model": "demo"} | body), headers=JSON)
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["param"] == param
        assert message in error["message"]


def test_formats_of_responses(server, client: openai.OpenAI) -> None:
    form = {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}}
    options = {"model": "demo", "input": USER, "max_output_tokens": 120, "extra_body": {"seed": 3}}
    whole = client.responses.create(**options, text=form)
    assert json.loads(whole.output_text)["city"] in ("Paris", "Rome")
    assert whole.text.format.type == "json_schema"
    with client.responses.stream(**options, text=form) as stream:
        assert "".join(e.delta for e in stream if e.type == "response.output_text.delta") == whole.output_text
    plain = client.responses.create(**options, text={"format": {"type": "json_object"}})
    assert plain.output_text.startswith("{")
    with pytest.raises(openai.BadRequestError, match="cannot be enforced") as caught:
        client.responses.create(**options, text={"format": {"type": "json_schema", "name": "x", "schema": {"not": {}}}})
    assert caught.value.param == "text.format"
    with pytest.raises(openai.BadRequestError, match="verbosity"):
        client.responses.create(**options, text={"verbosity": "low"})


def test_formats_of_messages(claude: anthropic.Anthropic) -> None:
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}
    options = {"model": "demo", "messages": USER, "max_tokens": 120, "extra_body": {"seed": 3}}
    whole = claude.messages.create(**options, output_config=config)
    assert json.loads(whole.content[0].text)["city"] in ("Paris", "Rome")
    with claude.messages.stream(**options, output_config=config) as stream:
        assert "".join(stream.text_stream) == whole.content[0].text
    begun = [*USER, {"role": "assistant", "content": "{"}]
    with pytest.raises(anthropic.BadRequestError, match=r"output_config.format.*cannot be combined"):
        claude.messages.create(**options | {"messages": begun}, output_config=config)
    with pytest.raises(anthropic.BadRequestError, match="cannot be enforced"):
        claude.messages.create(**options, output_config={"format": {"type": "json_schema", "schema": {"not": {}}}})
    with pytest.raises(anthropic.BadRequestError, match="effort"):
        claude.messages.create(**options, output_config={"effort": "low"})


words = st.sampled_from(["type", "enum", "items", "properties", "minimum", "anyOf", "not", "$ref", "pattern", "x", "é"])
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 300),
        st.floats(-1e9, 1e9),
        st.sampled_from(["object", "array", "string", "integer", "null", "#", "^a+$", "é", ""]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(schema=st.dictionaries(words, values, max_size=4), path=st.sampled_from([CHAT, RESPONSES, MESSAGES]))
def test_any_schema_gives_json_or_a_clear_refusal(server, schema: dict, path: str) -> None:
    if path == CHAT:
        body = chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    elif path == RESPONSES:
        form = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
        body = {"input": USER, "max_output_tokens": 60, "text": form}
    else:
        form = {"format": {"type": "json_schema", "schema": schema}}
        body = {"messages": USER, "max_tokens": 60, "output_config": form}
    response = server.post(path, body)
    answer = response.json()
    if response.status_code == 400:
        assert "JSON schema" in answer["error"]["message"] or "grammar" in answer["error"]["message"]
        return
    assert response.status_code == 200
    if path == CHAT:
        written, cut = answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"] == "length"
    elif path == RESPONSES:
        written, cut = answer["output"][0]["content"][0]["text"], answer["status"] == "incomplete"
    else:
        written, cut = answer["content"][0]["text"], answer["stop_reason"] == "max_tokens"
    if not cut:
        json.loads(written)
