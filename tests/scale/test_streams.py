"""A client reads the same bytes and usage, whatever happens to the worker that computes its text."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.generation import Piece
from tools.scale.fleet import STALL_SECONDS, Answer, Fleet

TOKENS = 60
PROMPT = "Once upon a time"
MESSAGES = [{"role": "user", "content": "Tell me a story about a fox."}]
SAMPLED = {"temperature": 1.0, "seed": 1234}
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "top-p": {"temperature": 0.9, "top_p": 0.95, "seed": 7},
    "top-k and penalties": {
        "temperature": 0.9,
        "top_k": 20,
        "repetition_penalty": 1.2,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.3,
        "seed": 8,
    },
    "min-p": {"temperature": 1.2, "min_p": 0.05, "seed": 9},
    "stop strings": {"temperature": 0.8, "seed": 19, "stop": ["learn to jump", "Then she m"]},
    "chat": {"temperature": 0.7, "seed": 11},
}


def kill_at(at: int, number: int) -> Callable[[Fleet, str, dict], Answer]:
    def run(fleet: Fleet, path: str, body: dict[str, Any]) -> Answer:
        fleet.wait_for_members(2)
        victims, passed_over = [], fleet.passed_over()
        answer = fleet.stream(path, body, at, lambda: victims.append(fleet.kill(number)))
        assert fleet.passed_over() > passed_over
        if number == signal.SIGSTOP:
            assert answer.max_gap < STALL_SECONDS + 1.5
            victims[0].send(signal.SIGCONT)
        else:
            fleet.start(wait=False)
        return answer

    return run


EVENTS: dict[str, Callable[[Fleet, str, dict], Answer]] = {
    "unbroken": lambda fleet, path, body: fleet.stream(path, body),
    "killed at token 1": kill_at(1, signal.SIGKILL),
    "killed at token 25": kill_at(25, signal.SIGKILL),
    "ended by SIGTERM": kill_at(10, signal.SIGTERM),
    "stopped by SIGSTOP": kill_at(10, signal.SIGSTOP),
}


def expected(demo: BitNetModel, name: str) -> Answer:
    options = {"max_new_tokens": TOKENS, "ignore_eos": True} | SETTINGS[name]
    tokenizer = demo.tokenizer
    prompt = tokenizer.apply_chat_template(MESSAGES) if name == "chat" else tokenizer.encode(PROMPT)
    pieces: list[Piece] = list(demo.stream(prompt, **options))
    timings = pieces[-1].timings
    assert timings is not None
    usage = {"prompt_tokens": len(prompt), "completion_tokens": timings.generated_tokens}
    return Answer("".join(piece.text for piece in pieces), usage, pieces[-1].finish_reason)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_text_is_that_of_one_model(slow_fleet, demo, name, event) -> None:
    body: dict[str, Any] = {"max_tokens": TOKENS, "ignore_eos": True} | SETTINGS[name]
    path = "/v1/chat/completions" if name == "chat" else "/v1/completions"
    body |= {"messages": MESSAGES} if name == "chat" else {"prompt": PROMPT}
    answer = EVENTS[event](slow_fleet, path, body)
    whole = expected(demo, name)
    assert answer.error is None
    assert (answer.text, answer.usage, answer.finish_reason) == (whole.text, whole.usage, whole.finish_reason)
