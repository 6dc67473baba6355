"""POST /v1/completions gives what BitNetModel gives; `echo` with logprobs scores prompts, as lm-eval needs it."""

import json
import math

import pytest

TEXT = "/v1/completions"
ONCE = "Once upon a time"


def test_the_text_is_that_of_the_model(server, demo) -> None:
    answer = server.post(TEXT, {"model": "demo", "prompt": ONCE, "temperature": 0}).json()
    assert answer["object"] == "text_completion"
    assert answer["choices"] == [
        {"index": 0, "text": demo.generate(ONCE, max_new_tokens=16), "logprobs": None, "finish_reason": "length"}
    ]
    assert answer["usage"]["completion_tokens"] == 16


def test_prompts_of_every_kind_and_their_choices_keep_their_order(server, demo) -> None:
    ids = demo.tokenizer.encode("The cat")
    texts = [demo.generate(prompt, max_new_tokens=5) for prompt in (ONCE, "The cat")]
    body = {"temperature": 0, "max_tokens": 5}
    assert [one["text"] for one in server.post(TEXT, body | {"prompt": ids}).json()["choices"]] == texts[1:]
    for prompt in ([ONCE, "The cat"], [demo.tokenizer.encode(ONCE), ids]):
        choices = server.post(TEXT, body | {"prompt": prompt, "n": 2}).json()["choices"]
        assert [one["index"] for one in choices] == [0, 1, 2, 3]
        assert [one["text"] for one in choices] == [texts[0]] * 2 + [texts[1]] * 2


@pytest.mark.parametrize("max_tokens", [0, 6])
@pytest.mark.parametrize("stream", [False, True])
def test_echo_repeats_the_prompt(server, stream: bool, max_tokens: int) -> None:
    body = {"prompt": ["Once", "Hello"], "temperature": 0, "max_tokens": max_tokens}
    new = [one["text"] for one in server.post(TEXT, body).json()["choices"]]
    body |= {"echo": True, "stream": stream}
    if stream:
        texts = ["", ""]
        for chunk in map(json.loads, server.events(TEXT, body)[:-1]):
            texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    else:
        texts = [one["text"] for one in server.post(TEXT, body).json()["choices"]]
    assert texts == ["Once" + new[0], "Hello" + new[1]]


def test_echo_with_logprobs_scores_the_prompt(server, demo) -> None:
    text = "The king had a daughter, and she liked to walk in the garden."
    ids = demo.tokenizer.encode(text)
    body = {"prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0}
    choice = server.post(TEXT, body).json()["choices"][0]
    logprobs = choice["logprobs"]
    assert choice["text"] == text
    assert choice["finish_reason"] == "length"
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["top_logprobs"][0] is None
    assert len(logprobs["tokens"]) == len(ids)
    mean = sum(logprobs["token_logprobs"][1:]) / (len(ids) - 1)
    assert math.exp(-mean) == demo.perplexity(text)
    for offset, token in zip(logprobs["text_offset"][1:], logprobs["tokens"][1:], strict=True):
        assert text.startswith(token, offset)


@pytest.mark.parametrize("logprobs", [0, 1, 20])
@pytest.mark.parametrize("max_tokens", [0, 1])
def test_scores_are_those_of_the_model_to_the_last_digit(server, demo, max_tokens: int, logprobs: int) -> None:
    text = "Wörter, 東京 and 3 little foxes 🦊."
    expected = demo.engine.score(demo.tokenizer.encode(text))
    body = {"prompt": text, "max_tokens": max_tokens, "echo": True, "logprobs": logprobs, "temperature": 0}
    scored = server.post(TEXT, body).json()["choices"][0]["logprobs"]
    assert scored["token_logprobs"][1 : 1 + len(expected)] == [one.logprob for one in expected]
    assert len(scored["token_logprobs"]) == 1 + len(expected) + max_tokens


@pytest.mark.parametrize(("logprobs", "sizes"), [(0, {1}), (2, {2, 3})])
def test_alternatives_have_the_token_itself(server, logprobs: int, sizes: set[int]) -> None:
    body = {"prompt": "Once upon a zebra", "max_tokens": 3, "echo": True, "logprobs": logprobs, "temperature": 0}
    scored = server.post(TEXT, body).json()["choices"][0]["logprobs"]
    tops = scored["top_logprobs"][1:]
    assert [top[token] for top, token in zip(tops, scored["tokens"][1:], strict=True)] == scored["token_logprobs"][1:]
    assert {len(top) for top in tops} == sizes


def test_logprobs_in_a_stream_are_those_of_the_whole(server) -> None:
    body = {"prompt": ONCE, "max_tokens": 8, "echo": True, "logprobs": 2, "seed": 5, "stop": [" little girl"]}
    whole = server.post(TEXT, body).json()["choices"][0]["logprobs"]
    chunks = [json.loads(one)["choices"][0]["logprobs"] for one in server.events(TEXT, body | {"stream": True})[:-1]]
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert [value for chunk in chunks for value in chunk[name]] == whole[name]


def test_usage_comes_with_the_last_chunk(server) -> None:
    body = {"prompt": ONCE, "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}}
    *_, last, done = server.events(TEXT, body)
    assert done == "[DONE]"
    assert json.loads(last)["usage"]["completion_tokens"] == 4


def test_control_tokens_in_a_prompt_are_text(server, demo) -> None:
    answer = server.post(TEXT, {"prompt": "<|eot_id|>", "max_tokens": 1}).json()
    assert answer["usage"]["prompt_tokens"] == len(demo.tokenizer.encode("<|eot_id|>", parse_special=False)) > 2


def test_the_second_time_the_prompt_is_in_the_cache(server) -> None:
    body = {"prompt": "A dog and a cat sat by the fire. " * 12, "max_tokens": 1}
    server.post(TEXT, body)
    assert server.post(TEXT, body).json()["usage"]["prompt_tokens_details"]["cached_tokens"] >= 32
