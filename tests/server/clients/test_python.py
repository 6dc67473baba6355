"""The openai and anthropic packages work unchanged: every call that people use, whole and streamed."""

import json
from collections.abc import Iterator

import pytest

from tests.server.conftest import CLIENTS_MISSING

anthropic = pytest.importorskip("anthropic", reason=CLIENTS_MISSING)
openai = pytest.importorskip("openai", reason=CLIENTS_MISSING)

STRICT = {"api_key": "none", "max_retries": 0, "_strict_response_validation": True}
"""Answers that do not fit the client's types are errors."""

FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", **STRICT) as one:
        yield one


@pytest.fixture
def claude(server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, **STRICT) as one:
        yield one


def test_openai_chat(client) -> None:
    answer = client.chat.completions.create(model="demo", messages=FRANCE, temperature=0)
    assert answer.choices[0].message.content == PARIS
    assert answer.usage is not None
    # The answer can be sent back as it is.
    chat = [*FRANCE, answer.choices[0].message, {"role": "user", "content": "What is the capital of Italy?"}]
    assert client.chat.completions.create(model="demo", messages=chat, temperature=0).choices[0].message.content


def test_openai_chat_stream(client) -> None:
    with client.chat.completions.stream(
        model="demo", messages=FRANCE, temperature=0, logprobs=True, stream_options={"include_usage": True}
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content == PARIS
    assert final.usage is not None
    assert final.choices[0].logprobs is not None


def test_openai_completions(client, server) -> None:
    answer = client.completions.create(model="demo", prompt=["Once", "Hello"], n=2, max_tokens=4, logprobs=2)
    assert len(answer.choices) == 4
    # The client's types do not know two nulls that OpenAI sends too: the first log-probability of a prompt, and the
    # finish_reason of an unfinished text.
    with openai.OpenAI(base_url=server.url + "/v1", **STRICT | {"_strict_response_validation": False}) as lax:
        echo = lax.completions.create(model="demo", prompt="Once", max_tokens=0, logprobs=2, echo=True)
        assert echo.choices[0].text == "Once"
        chunks = list(lax.completions.create(model="demo", prompt="Once", max_tokens=4, stream=True))
    assert chunks[-1].choices[0].finish_reason == "length"


def test_openai_responses(client, demo) -> None:
    answer = client.responses.create(model="demo", input=FRANCE[0]["content"], temperature=0, store=False)
    assert answer.status == "completed"
    assert answer.output_text == PARIS
    chat = [*FRANCE, *answer.output, {"role": "user", "content": "And of Italy?"}]
    again = client.responses.create(model="demo", input=chat, instructions="Be short.", max_output_tokens=2)
    assert again.status == "incomplete"
    assert again.usage.output_tokens == 2
    with client.responses.stream(model="demo", input=FRANCE, temperature=0) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert "".join(deltas) == stream.get_final_response().output_text == PARIS


def test_openai_models_and_errors(client) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]
    with pytest.raises(openai.NotFoundError, match="gpt-4"):
        client.chat.completions.create(model="gpt-4", messages=FRANCE)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=FRANCE, tools=[{"type": "function"}])
    assert caught.value.param == "tools[0].function"
    with pytest.raises(openai.BadRequestError, match="has no embeddings"):
        client.embeddings.create(model="demo", input="text")
    with pytest.raises(openai.BadRequestError, match="keeps no conversations"):
        client.responses.create(model="demo", input="x", previous_response_id="resp_1")


def test_anthropic_messages(claude, demo) -> None:
    message = claude.messages.create(model="demo", max_tokens=50, messages=FRANCE, extra_body={"temperature": 0})
    assert message.content[0].text == PARIS
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    usage = message.usage
    prompt = demo.tokenizer.apply_chat_template(FRANCE)
    assert usage.input_tokens + usage.cache_read_input_tokens == len(prompt)
    assert claude.messages.count_tokens(model="demo", messages=FRANCE).input_tokens == len(prompt)
    system = [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}]
    chat = [*FRANCE, {"role": "assistant", "content": message.content}, *FRANCE, {"role": "system", "content": "Now."}]
    cut = claude.messages.create(model="demo", max_tokens=2, messages=chat, system=system)
    assert cut.stop_reason == "max_tokens"
    assert cut.usage.output_tokens == 2


def test_anthropic_stop_sequences_and_streams(claude) -> None:
    stops = ["nothing", "France", "Paris"]
    with claude.messages.stream(
        model="demo", max_tokens=50, messages=FRANCE, stop_sequences=stops, extra_body={"temperature": 0}
    ) as stream:
        assert "".join(stream.text_stream) == "The capital of "
        final = stream.get_final_message()
    assert (final.stop_reason, final.stop_sequence) == ("stop_sequence", "France")
    assert final.usage.output_tokens > 0


def test_anthropic_errors(claude, server) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(model="demo", max_tokens=5, messages=FRANCE, tools=[{"name": "x"}])
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="claude", max_tokens=5, messages=FRANCE)
    body = server.post("/v1/messages", {"messages": FRANCE}).json()
    assert body["type"] == "error"
    assert "max_tokens" in body["error"]["message"]


def test_openai_tools_and_formats(client) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    tool = {"type": "function", "function": {"name": "look_up", "parameters": schema}}
    options = {"model": "demo", "messages": FRANCE, "max_tokens": 100, "seed": 1}
    calls = {"tools": [tool], "tool_choice": "required", "parallel_tool_calls": False}
    choice = client.chat.completions.create(**options, **calls).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments)["city"] in ("Paris", "Rome")
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(**options, response_format=form).choices[0].message.content
    assert json.loads(answer)["city"] in ("Paris", "Rome")
