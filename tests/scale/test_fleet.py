"""What moves with a stream, who is asked, and what happens when nobody is left."""

import json
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from bitnet_tt import BitNetModel
from tests.embedding_model import write_embedding_model
from tools.scale.fleet import COMMAND, Fleet, Program

PROMPTS = ("Once upon a time", "The little dog", "A red bird", "One day, a girl")
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ASK = {"messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 40, "temperature": 1.0, "seed": 3}


def body(index: int) -> dict[str, Any]:
    temperature = 0.9 if index % 2 else 0.0
    return {
        "prompt": PROMPTS[index % 4],
        "max_tokens": 60,
        "ignore_eos": True,
        "temperature": temperature,
        "seed": index,
    }


def test_eight_streams_at_once_survive_the_end_of_their_worker(slow_fleet) -> None:
    fleet = slow_fleet
    whole = [fleet.stream(TEXT, body(index)) for index in range(8)]
    fleet.wait_for_members(2)
    with ThreadPoolExecutor(8) as pool:
        streams = [pool.submit(fleet.stream, TEXT, body(index)) for index in range(7)]
        streams.append(pool.submit(fleet.stream, TEXT, body(7), 10, fleet.kill))
        broken = [stream.result() for stream in streams]
    fleet.start(wait=False)
    assert [(one.error, one.text, one.usage) for one in broken] == [(None, one.text, one.usage) for one in whole]


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (TEXT, body(1) | {"logprobs": 3}),
        (TEXT, body(1) | {"n": 2}),
        (CHAT, ASK | {"response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}}),
        (CHAT, ASK | {"tools": [TOOL], "tool_choice": "required"}),
    ],
    ids=["log-probabilities", "two choices", "a schema", "a tool"],
)
def test_every_kind_of_answer_moves(slow_fleet, path, options) -> None:
    whole = raw(slow_fleet, path, options)
    slow_fleet.wait_for_members(2)
    passed_over = slow_fleet.passed_over()
    broken = raw(slow_fleet, path, options, kill_at=3)
    assert slow_fleet.passed_over() > passed_over
    slow_fleet.start(wait=False)
    assert broken == whole


def raw(fleet: Fleet, path: str, options: dict[str, Any], kill_at: int = -1) -> dict[int, tuple[Any, ...]]:
    """Return what each choice of a stream says, whatever the sizes of its chunks. Kill a worker at an event."""
    choices: dict[int, tuple[str, str, list[Any], str | None]] = {}
    request = {"model": "demo", "stream": True} | options
    with httpx.stream("POST", fleet.url + path, json=request, timeout=60) as response:
        assert response.status_code == 200, response.read()
        events = (json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {"))
        for count, event in enumerate(events):
            if count == kill_at:
                fleet.kill()
            for choice in event["choices"]:
                text, arguments, logprobs, reason = choices.get(choice["index"], ("", "", [], None))
                delta = choice.get("delta", {})
                text += choice.get("text") or delta.get("content") or ""
                for call in delta.get("tool_calls", ()):
                    arguments += call["function"].get("name", "") + call["function"].get("arguments", "")
                logprobs = logprobs + ((choice.get("logprobs") or {}).get("token_logprobs") or [])
                choices[choice["index"]] = text, arguments, logprobs, choice["finish_reason"] or reason
    return choices


def test_a_text_without_a_seed_moves_too(slow_fleet) -> None:
    """What it would have been is not known, but its continuation fits its seed: the whole text has its log-probability.

    So it is enough that it goes on, is complete, and differs from another one.
    """
    slow_fleet.wait_for_members(2)
    request = {"prompt": PROMPTS[0], "max_tokens": 60, "ignore_eos": True, "temperature": 1.0}
    first = slow_fleet.stream(TEXT, request, 10, slow_fleet.kill)
    slow_fleet.start(wait=False)
    second = slow_fleet.stream(TEXT, request)
    assert first.error is None
    assert first.usage == second.usage == {"prompt_tokens": 5, "completion_tokens": 60}
    assert first.text != second.text


def test_scores_move(slow_fleet) -> None:
    """The worker that has the text in its cache hangs: another one scores it, to the same last bit."""
    slow_fleet.wait_for_members(2)
    request = {"model": "demo", "prompt": list(range(20, 400)), "max_tokens": 0, "echo": True, "logprobs": 1}

    def score() -> Any:
        answer = httpx.post(slow_fleet.url + TEXT, json=request, timeout=60).json()
        return answer["choices"][0]["logprobs"]["token_logprobs"]

    whole, passed_over = score(), slow_fleet.passed_over()
    assert len(whole) == 380
    stopped = slow_fleet.kill(signal.SIGSTOP)
    assert score() == whole
    assert slow_fleet.passed_over() == passed_over + 1
    stopped.send(signal.SIGCONT)


def test_embeddings_move(make_fleet, tmp_path) -> None:
    """Two workers of an embedding model give what the model gives, also after one of them was lost."""
    model = write_embedding_model(tmp_path / "model")
    texts = ["What is BitNet?", "The capital of France is Paris"]
    with BitNetModel.from_pretrained(model, threads=1) as loaded:
        expected = loaded.embed(texts)
    fleet = make_fleet(model=str(model))

    def embed() -> Any:
        answer = httpx.post(fleet.url + "/v1/embeddings", json={"model": "demo", "input": texts}, timeout=60).json()
        return np.array([one["embedding"] for one in answer["data"]], np.float32)

    fleet.start(2)
    fleet.wait_for_members(2)
    np.testing.assert_array_equal(embed(), expected)
    fleet.workers[0].send(signal.SIGKILL)
    np.testing.assert_array_equal(embed(), expected)
    wrong = {"model": "demo", "input": "x", "dimensions": 64}
    assert httpx.post(fleet.url + "/v1/embeddings", json=wrong, timeout=60).json()["error"]["param"] == "dimensions"


def test_a_model_that_writes_text_has_no_embeddings(slow_fleet) -> None:
    answer = httpx.post(slow_fleet.url + "/v1/embeddings", json={"model": "demo", "input": "x"}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_endpoint")


def test_a_worker_that_hung_takes_part_again(slow_fleet) -> None:
    members = slow_fleet.members()
    stopped = slow_fleet.kill(signal.SIGSTOP)
    slow_fleet.stream(TEXT, body(2))  # may go to the worker that hangs
    stopped.send(signal.SIGCONT)
    slow_fleet.wait_for_members(members)


def test_a_request_that_cannot_succeed_is_refused(slow_fleet) -> None:
    request = {"model": "demo", "prompt": "Hi", "temperature": -1}
    assert httpx.post(slow_fleet.url + TEXT, json=request).status_code == 400
    assert httpx.post(slow_fleet.url + TEXT, json={"model": "other", "prompt": "Hi"}).status_code == 404


def test_the_last_workers_end_is_an_error_event_and_a_new_worker_takes_part(make_fleet) -> None:
    fleet = make_fleet(0.004, ("--wait-seconds", "0.2"))
    fleet.start()
    fleet.wait_for_members(1)
    answer = fleet.stream(TEXT, body(0), 5, fleet.kill)
    assert answer.text
    assert answer.error is not None
    assert answer.error["code"] == "device_error"
    assert "no worker of 'demo' is left" in answer.error["message"]
    assert httpx.get(fleet.url + "/ready").status_code == 503
    refused = fleet.stream(TEXT, body(0))
    assert refused.error is not None
    fleet.start()
    fleet.wait_for_members(1)
    whole = fleet.stream(TEXT, body(0))
    assert whole.error is None
    assert whole.text.startswith(answer.text)


def test_a_text_waits_for_a_worker(make_fleet) -> None:
    """The only worker restarts in mid-stream: the text goes on at its successor."""
    fleet = make_fleet(0.004, ("--wait-seconds", "60"))
    fleet.start()
    fleet.wait_for_members(1)
    whole = fleet.stream(TEXT, body(1))

    def restart() -> None:
        fleet.kill()
        fleet.start(wait=False)

    broken = fleet.stream(TEXT, body(1), 10, restart)
    assert (broken.error, broken.text, broken.usage) == (None, whole.text, whole.usage)


def test_a_worker_leaves_without_waiting_and_ends_with_0(make_fleet) -> None:
    fleet = make_fleet(0.02)
    fleet.start(2)
    fleet.wait_for_members(2)
    ended: list[Program] = []
    answer = fleet.stream(TEXT, body(1), 5, lambda: ended.append(fleet.kill(signal.SIGTERM)))
    assert answer.error is None
    assert answer.usage["completion_tokens"] == 60
    assert ended[0].process.wait(10) == 0


def test_a_device_that_hangs_is_passed_over(make_fleet, demo) -> None:
    """The process of the worker lives, but its step never ends."""
    fleet = make_fleet(60.0, ("--wait-seconds", "60"))
    fleet.start(1, "--hang-seconds", "0.3")
    fleet.wait_for_members(1)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(fleet.stream, TEXT, body(1))
        fleet.step_seconds = 0.0
        fleet.start()
        answer = stream.result()
    assert answer.error is None
    assert answer.text == demo.generate(PROMPTS[1], max_new_tokens=60, ignore_eos=True, temperature=0.9, seed=1)
    assert fleet.passed_over() == 1
    assert fleet.members() == 1


def test_workers_of_every_instruction_set_and_thread_count_are_equal(make_fleet, demo) -> None:
    from bitnet_tt.backends.cpu.backend import available_isas

    isas = available_isas()
    fleet = make_fleet(0.004)
    fleet.start(1, "--isa", isas[0], "--threads", "2")
    fleet.start(1, "--isa", isas[-1])
    fleet.wait_for_members(2)
    whole = fleet.stream(TEXT, body(1))
    assert whole.text == demo.generate(PROMPTS[1], max_new_tokens=60, ignore_eos=True, temperature=0.9, seed=1)
    broken = fleet.stream(TEXT, body(1), 10, fleet.kill)
    assert (broken.text, broken.usage) == (whole.text, whole.usage)


def test_unequal_workers_are_refused(make_fleet, tmp_path: Path) -> None:
    """A worker with another context would end texts elsewhere; it gets a name of its own, or does not start."""
    fleet = make_fleet()
    fleet.start()
    fleet.wait_for_members(1)
    worker = (*COMMAND, "scale", "worker", "demo", "--context", "100", *fleet.cluster)
    refused = subprocess.run(worker, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert "another model by the name 'demo'" in refused.stderr
    assert "--name or --namespace" in refused.stderr
    [other] = fleet.start(1, "--context", "100", "--name", "short")
    listed = subprocess.run((*COMMAND, "scale", "status", *fleet.cluster, "--json"), capture_output=True, text=True)
    workers = {one["card"]["name"]: one for one in map(json.loads, listed.stdout.splitlines())}
    assert workers["short"]["card"]["context_length"] == 100
    assert workers["short"]["card"]["fingerprint"] != workers["demo"]["card"]["fingerprint"]
    assert workers["short"]["process"] == other.process.pid
    assert fleet.members() == 1


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_worker_has_probes_and_gauges(make_fleet) -> None:
    port = free_port()
    fleet = make_fleet(0.01)
    fleet.start(1, "--status-port", str(port))
    fleet.wait_for_members(1)
    url = f"http://127.0.0.1:{port}"
    assert httpx.get(url + "/health").status_code == httpx.get(url + "/ready").status_code == 200
    metrics: list[str] = []
    fleet.stream(TEXT, body(1), 5, lambda: metrics.append(httpx.get(url + "/metrics").text))
    assert "bitnet_requests_running 1.0" in metrics[0]
    assert "bitnet_requests_waiting 0.0" in metrics[0]
    assert "bitnet_kv_cache_usage_ratio 0.0" in metrics[0]
    assert "bitnet_requests_running 0.0" in httpx.get(fleet.url + "/metrics").text
    assert "bitnet_kv_cache" not in httpx.get(fleet.url + "/metrics").text


def test_nothing_listens_beyond_loopback(slow_fleet) -> None:
    for program in (slow_fleet.frontend, *slow_fleet.workers):
        if program.process.poll() is None:
            assert listening(program) <= {"0100007F"}, program.lines


def listening(program: Program) -> set[str]:
    """Return the IPv4 addresses that a process listens at, in hexadecimal; IPv6 ones as they are."""
    process = Path(f"/proc/{program.process.pid}")
    sockets = {link.readlink().name for link in process.glob("fd/*") if link.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for row in (process / "net" / table).read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].partition(":")[0])
    assert found
    return found


def test_a_frontend_that_ends_lets_its_streams_finish(make_fleet) -> None:
    fleet = make_fleet(0.004)
    fleet.start()
    fleet.wait_for_members(1)
    answer = fleet.stream(TEXT, body(1), 5, lambda: fleet.frontend.send(signal.SIGTERM))
    assert (answer.error, answer.usage["completion_tokens"]) == (None, 60)
    assert fleet.frontend.process.wait(20) == 0


def test_a_lost_frontend_leaves_no_text_running(make_fleet) -> None:
    port = free_port()
    fleet = make_fleet(0.02)
    fleet.start(1, "--status-port", str(port))
    fleet.wait_for_members(1)
    with pytest.raises(httpx.HTTPError):
        fleet.stream(TEXT, body(1) | {"max_tokens": 400}, 3, lambda: fleet.frontend.send(signal.SIGKILL))
    deadline = time.monotonic() + 6  # the text itself takes 8 seconds
    while "bitnet_requests_running 0.0" not in httpx.get(f"http://127.0.0.1:{port}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_status_without_workers(tmp_path: Path) -> None:
    folder = str(tmp_path / "cluster")
    listed = subprocess.run((*COMMAND, "scale", "status", "--folder", folder), capture_output=True, text=True)
    assert listed.returncode == 1
    assert f"no worker at {folder}" in listed.stderr
