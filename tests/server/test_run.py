"""`bitnet-tt serve` as a program: a line when ready, no work when idle, clear errors, and an end that loses nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.errors import ConfigError
from bitnet_tt.server.listen import listening_socket
from bitnet_tt.server.settings import ServerSettings

COMMAND = [sys.executable, "-c", "from bitnet_tt.cli import main; main()", "serve"]
COUNT = 12
SHORT = {"model": "demo", "prompt": "Once", "max_tokens": 5}
LONG = {"model": "demo", "prompt": "Once", "max_tokens": 400, "ignore_eos": True, "n": COUNT, "stream": True}


class Program:
    """A running `bitnet-tt serve`."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()
        self.url = self.ready.split()[1] if self.ready else ""

    def end(self, number: int = signal.SIGTERM) -> tuple[int, list[dict]]:
        """Send a signal; return the exit code and the log."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, list[dict]]:
        _, log = self.process.communicate(timeout=30)
        return self.process.returncode, [json.loads(line) for line in log.splitlines() if line.startswith("{")]


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def run(*arguments: str) -> Program:
        programs.append(Program(*arguments))
        return programs[-1]

    yield run
    for program in programs:
        program.process.kill()
        program.process.communicate()


def test_it_says_when_it_is_ready_and_ends_with_0(start) -> None:
    program = start("--port", "0")
    assert program.ready.startswith("Ready: http://127.0.0.1:")
    assert "model demo on cpu" in program.ready
    assert "key none" in program.ready
    health = httpx.get(program.url + "/health")
    assert health.json() == {"status": "ok"}
    assert len(health.headers.get_list("date")) == 1
    code, log = program.end()
    assert code == 0
    assert [(line["path"], line["status"]) for line in log] == [("/health", 200)]


def test_an_idle_server_sleeps(start) -> None:
    program = start("--port", "0")
    with httpx.Client(base_url=program.url, timeout=30) as client:  # it keeps its connection
        client.post("/v1/completions", json=SHORT)
        assert client.get("/ready").status_code == 200
        before = wakeups(program.process.pid)
        time.sleep(1)
        assert wakeups(program.process.pid) - before <= 1


def wakeups(pid: int) -> int:
    """Return how often the threads of a process went to sleep so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/status")
    return sum(int(task.read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for task in tasks)


def test_sigterm_lets_requests_finish_and_refuses_new_ones(start) -> None:
    program = start("--port", "0")
    with httpx.Client(base_url=program.url, timeout=30) as other, httpx.Client(timeout=30) as client:
        other.get("/health")
        with client.stream("POST", program.url + "/v1/completions", json=LONG) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data: {")
            program.process.send_signal(signal.SIGTERM)
            for _ in range(1000):
                ready = other.get("/ready")
                if ready.status_code == 503:
                    break
            assert ready.json()["reason"] == "draining"
            refused = other.post("/v1/completions", json={"prompt": "Once"})
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "draining"
            assert refused.headers["retry-after"]
            rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    reasons = [json.loads(line[6:])["choices"][0]["finish_reason"] for line in rest[:-1]]
    assert reasons.count("length") == COUNT
    code, log = program.wait()
    assert code == 0
    assert next(line for line in log if line["status"] == 200 and "stream" in line)["completion_tokens"] == COUNT * 400


def test_sigterm_loses_no_request_of_many_clients(start) -> None:
    program = start("--port", "0")
    body = {"model": "demo", "prompt": "Once", "max_tokens": 200, "ignore_eos": True}
    first_answers = threading.Semaphore(0)

    def send_until_refused(_: int) -> list[int]:
        answers: list[int] = []
        with httpx.Client(base_url=program.url, timeout=60) as client:
            while True:
                try:
                    response = client.post("/v1/completions", json=body)
                except httpx.TransportError:  # the server has ended; it never took this request
                    return answers
                if response.status_code == 503:
                    assert response.json()["error"]["code"] == "draining"
                    return answers
                answers.append(response.json()["usage"]["completion_tokens"])
                first_answers.release()

    with ThreadPoolExecutor(24) as clients:
        results = clients.map(send_until_refused, range(24))
        assert first_answers.acquire(timeout=30)
        code, log = program.end()
        answers = [tokens for one in results for tokens in one]
    assert code == 0
    assert set(answers) == {200}
    statuses = [line["status"] for line in log]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) == len(answers)


def test_after_the_drain_time_streams_end_with_an_error_event(start) -> None:
    program = start("--port", "0", "--drain-timeout", "0")
    with httpx.stream("POST", program.url + "/v1/completions", json=LONG, timeout=30) as response:
        lines = response.iter_lines()
        next(lines)
        program.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert json.loads(rest[-2].removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert rest[-1] == "data: [DONE]"
    assert program.wait()[0] == 1


def test_a_second_signal_ends_it_at_once(start) -> None:
    program = start("--port", "0")
    ended = threading.Event()

    def read() -> None:
        try:
            with httpx.stream("POST", program.url + "/v1/completions", json=LONG, timeout=30) as response:
                started.set()
                for _ in response.iter_lines():
                    pass
        except httpx.HTTPError:
            pass
        ended.set()

    started = threading.Event()
    threading.Thread(target=read).start()
    assert started.wait(10)
    program.process.send_signal(signal.SIGTERM)
    while httpx.get(program.url + "/ready").status_code != 503:
        pass
    code, _ = program.end()
    assert code == 128 + signal.SIGTERM
    assert ended.wait(10)


def test_a_port_in_use_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"port {port} of 127.0.0.1 is in use" in result.stderr
    assert result.stderr.count("\n") == 1


def test_after_kill_9_its_port_is_free(start) -> None:
    killed = start("--port", "0")
    with httpx.stream("POST", killed.url + "/v1/completions", json=LONG, timeout=30) as response:
        lines = response.iter_lines()
        next(lines)
        killed.process.kill()
        with pytest.raises(httpx.TransportError):
            list(lines)
    killed.process.wait()
    program = start("--port", killed.url.rpartition(":")[2])
    assert program.url == killed.url
    assert httpx.post(program.url + "/v1/completions", json=SHORT, timeout=30).status_code == 200
    assert program.end()[0] == 0


def test_after_kill_9_its_unix_socket_is_taken_over(start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    killed = start("--uds", str(path))
    killed.process.kill()
    killed.process.wait()
    assert path.exists()
    program = start("--uds", str(path))
    assert program.ready.startswith(f"Ready: unix:{path}")
    with httpx.Client(transport=httpx.HTTPTransport(uds=os.fspath(path)), timeout=30) as client:
        assert client.post("http://server/v1/completions", json=SHORT).status_code == 200
    assert program.end()[0] == 0
    assert not path.exists()


def test_a_unix_socket_where_somebody_listens_is_not_taken(run, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening_socket(ServerSettings(uds=path)), socket.socket(socket.AF_UNIX) as client:
        # The other one still loads its model.
        result = run("serve", "--uds", str(path), "--model", "/no/such/model")
        assert result.exit_code == 1
        assert "another program listens there" in result.stderr
        client.connect(os.fspath(path))


def test_a_file_is_not_replaced_by_a_unix_socket(run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("keep me")
    result = run("serve", "--uds", str(path))
    assert result.exit_code == 1
    assert "is no socket" in result.stderr
    assert path.read_text() == "keep me"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "port must be an integer from 0 to 65535"),
        (["--host", "no such host"], "--host no such host"),
        (["--tls-cert", "missing.pem"], "together with tls_key"),
        (["--tls-cert", "missing.pem", "--tls-key", "missing.pem"], "missing.pem"),
        (["--api-key-file", "missing"], "missing"),
        (["--uds", "/no/such/folder/socket"], "/no/such/folder/socket"),
        (["--max-queue", "-1"], "queue"),
        (["--max-stall-ms", "0"], "max_stall_ms must be a positive number"),
        (["--port", "0", "--model", "/no/such/model"], "/no/such/model"),
    ],
)
def test_wrong_settings_are_one_line(run, arguments: list[str], message: str) -> None:
    result = run("serve", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_options_reach_the_model(run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def from_pretrained(model: str, **options: object) -> None:
        given.update(options, model=model)
        raise ConfigError("seen")

    monkeypatch.setattr(BitNetModel, "from_pretrained", from_pretrained)
    arguments = ["--max-batch", "3", "--max-stall-ms", "50", "--speculate", "--threads", "1", "--context", "64"]
    assert "error: seen" in run("serve", "--port", "0", *arguments).stderr
    expected = {"max_batch_size": 3, "max_stall_ms": 50.0, "speculate": True, "threads": 1, "context_length": 64}
    assert given.items() >= expected.items()


def test_without_the_extra_it_says_what_to_install(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("serve")
    assert result.exit_code == 1
    assert "uv sync --extra server" in result.stderr
