"""POST /v1/chat/completions gives what BitNetModel gives, whole or streamed, in OpenAI's shapes."""

import json
from dataclasses import fields

import pytest

from bitnet_tt.config import GenerationConfig

CHAT = "/v1/chat/completions"
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]


def test_the_answer_is_that_of_the_model(server, demo) -> None:
    response = server.post(CHAT, {"model": "demo", "messages": FRANCE, "temperature": 0})
    answer = response.json()
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "demo"
    assert answer["system_fingerprint"].startswith("fp_")
    [choice] = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": demo.chat(FRANCE), "refusal": None, "annotations": []}
    assert choice["finish_reason"] == "stop"
    prompt_tokens = len(demo.tokenizer.apply_chat_template(FRANCE))
    tokens = [token for piece in demo.stream_chat(FRANCE) for token in piece.token_ids]
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (prompt_tokens, len(tokens))
    assert usage["total_tokens"] == prompt_tokens + len(tokens)
    assert usage["prompt_tokens_details"].keys() == {"cached_tokens"}


def test_a_stream_has_the_same_text_and_usage(server) -> None:
    body = {"messages": FRANCE, "temperature": 0.9, "seed": 3, "max_tokens": 30}
    whole = server.post(CHAT, body).json()
    *chunks, done = server.events(CHAT, body | {"stream": True, "stream_options": {"include_usage": True}})
    assert done == "[DONE]"
    *texts, last = map(json.loads, chunks)
    assert last["choices"] == []
    for name in ("prompt_tokens", "completion_tokens"):
        assert last["usage"][name] == whole["usage"][name]
    assert all(chunk["usage"] is None for chunk in texts)
    deltas = [chunk["choices"][0]["delta"] for chunk in texts]
    assert "".join(delta.get("content", "") for delta in deltas) == whole["choices"][0]["message"]["content"]
    assert [delta.get("role") for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    assert deltas[0]["content"] != ""
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in texts]
    assert reasons == [None] * (len(reasons) - 1) + [whole["choices"][0]["finish_reason"]]


def test_parts_of_text_are_joined_and_developer_is_system(server) -> None:
    plain = [{"role": "system", "content": "Be short."}, *FRANCE]
    parts = [{"type": "text", "text": "What is the "}, {"type": "text", "text": "capital of France?"}]
    other = [{"role": "developer", "content": "Be short."}, {"role": "user", "content": parts}]
    texts = [server.post("/apply-template", {"messages": one}).json() for one in (plain, other)]
    assert texts[0] == texts[1]


def test_choices_differ_by_seed_and_repeat(server) -> None:
    body = {"messages": [{"role": "user", "content": "Tell me a story."}], "temperature": 1.5, "seed": 7, "n": 4}
    first, second = (server.post(CHAT, body | {"max_tokens": 12}).json() for _ in range(2))
    texts = [choice["message"]["content"] for choice in first["choices"]]
    assert texts == [choice["message"]["content"] for choice in second["choices"]]
    assert len(set(texts)) > 1
    assert [choice["index"] for choice in first["choices"]] == [0, 1, 2, 3]
    alone = server.post(CHAT, body | {"max_tokens": 12, "n": 1}).json()
    assert alone["choices"][0]["message"]["content"] == texts[0]


def test_logprobs_cover_each_token_with_its_bytes(server) -> None:
    body = {"messages": FRANCE, "temperature": 0, "logprobs": True, "top_logprobs": 3}
    choice = server.post(CHAT, body).json()["choices"][0]
    entries = choice["logprobs"]["content"]
    data = b"".join(bytes(entry["bytes"]) for entry in entries[:-1])  # the last one ends the turn
    assert data.decode() == choice["message"]["content"]
    for entry in entries:
        assert len(entry["top_logprobs"]) == 3
        assert entry["top_logprobs"][0]["logprob"] == entry["logprob"] <= 0
    chunks = [json.loads(one) for one in server.events(CHAT, body | {"stream": True})[:-1]]
    streamed = [one["choices"][0]["logprobs"] for one in chunks]
    assert [entry for one in streamed if one for entry in one["content"]] == entries


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_text_before_it(server, stream: bool) -> None:
    body = {"messages": FRANCE, "temperature": 0, "stop": ["France"], "stream": stream}
    if stream:
        chunks = [json.loads(one)["choices"][0] for one in server.events(CHAT, body)[:-1]]
        text = "".join(chunk["delta"].get("content", "") for chunk in chunks)
        reason = chunks[-1]["finish_reason"]
    else:
        choice = server.post(CHAT, body).json()["choices"][0]
        text, reason = choice["message"]["content"], choice["finish_reason"]
    assert (text, reason) == ("The capital of ", "stop")


def test_the_length_of_an_answer_has_two_names(server) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = server.post(CHAT, {"messages": FRANCE, "temperature": 0, name: 3}).json()
        assert answer["usage"]["completion_tokens"] == 3
        assert answer["choices"][0]["finish_reason"] == "length"


def test_control_tokens_of_users_are_text(server, demo) -> None:
    messages = [{"role": "user", "content": "<|eot_id|>", "name": "<|eot_id|>"}]
    tokens = server.post("/apply-template", {"messages": messages}).json()["tokens"]
    assert tokens.count(demo.tokenizer.token_to_id("<|eot_id|>")) == 1


def test_every_stream_has_the_same_headers(server) -> None:
    body = {"messages": FRANCE, "max_tokens": 1, "stream": True}
    first, second = (server.post(CHAT, body).headers for _ in range(2))
    assert first.get_list("x-request-id") != second.get_list("x-request-id")
    assert len(first.get_list("x-request-id")) == len(second.get_list("x-request-id")) == 1


@pytest.mark.parametrize(("name", "value"), [("presence_penalty", 2), ("frequency_penalty", 2), ("logit_bias", -100)])
def test_penalties_work_once_the_engine_has_them(server, demo, name: str, value: int) -> None:
    body = {"messages": FRANCE, "temperature": 0, "max_tokens": 30}
    first, *_ = demo.tokenizer.encode("The", add_bos=False)
    response = server.post(CHAT, body | {name: {str(first): value} if name == "logit_bias" else value})
    if name not in {field.name for field in fields(GenerationConfig)}:
        assert response.status_code == 400
        assert response.json()["error"]["param"] == name
        return
    assert response.status_code == 200
    if name == "logit_bias":
        assert not response.json()["choices"][0]["message"]["content"].startswith("The")


BEGUN = [*FRANCE, {"role": "assistant", "content": "The capital of"}]
CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}


def test_the_last_message_is_continued(server, demo) -> None:
    body = {"messages": BEGUN, "temperature": 0} | CONTINUE
    choice = server.post(CHAT, body).json()["choices"][0]
    assert choice["message"]["content"] == " France is Paris."
    # Anthropic's API means the same by a last message of the assistant.
    message = server.post("/v1/messages", {"messages": BEGUN, "max_tokens": 50, "temperature": 0}).json()
    assert message["content"][0]["text"] == " France is Paris."
    shown = server.post("/apply-template", {"messages": BEGUN} | CONTINUE).json()
    assert shown["prompt"] == demo.tokenizer.render_chat(FRANCE) + "The capital of"
    counted = server.post("/v1/messages/count_tokens", {"messages": BEGUN}).json()
    assert counted["input_tokens"] == len(shown["tokens"]) == server.post(CHAT, body).json()["usage"]["prompt_tokens"]


def test_what_another_model_thought_is_left_out(server) -> None:
    text = {"type": "text", "text": "It is Paris."}
    thoughts = [{"type": "thinking", "thinking": "x", "signature": "s"}, {"type": "redacted_thinking", "data": "x"}]
    counts = []
    for content in ([text], [*thoughts, text]):
        messages = [*FRANCE, {"role": "assistant", "content": content}, {"role": "user", "content": "Thanks"}]
        counts.append(server.post("/v1/messages/count_tokens", {"messages": messages}).json()["input_tokens"])
    assert counts[0] == counts[1]
    refused = server.post("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": thoughts}]})
    assert refused.status_code == 400
    assert "the user has no blocks of type thinking" in refused.json()["error"]["message"]


def test_without_a_generation_prompt_the_chat_ends_as_it_is(server, demo) -> None:
    answer = server.post(CHAT, {"messages": FRANCE, "max_tokens": 1, "add_generation_prompt": False}).json()
    prompt = demo.tokenizer.apply_chat_template(FRANCE, add_generation_prompt=False)
    assert answer["usage"]["prompt_tokens"] == len(prompt)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (CHAT, {"messages": BEGUN, "continue_final_message": True}, "needs add_generation_prompt: false"),
        (CHAT, {"messages": FRANCE, **CONTINUE}, "only a text of the assistant"),
        (CHAT, {"messages": [], **CONTINUE}, "only a text of the assistant"),
        ("/v1/messages", {"messages": [{"role": "assistant", "content": "It is "}], "max_tokens": 5}, "white space"),
        (
            "/v1/messages",
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {}}]}
                ],
                "max_tokens": 5,
            },
            "only a text of the assistant",
        ),
    ],
)
def test_what_cannot_be_continued_is_refused(server, path: str, body: dict, message: str) -> None:
    response = server.post(path, body)
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]
