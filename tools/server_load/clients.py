"""Clients that behave well and badly, one request after another, until a deadline."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import httpx

from tools.server_load.answers import IncompleteError, canonical, first_difference
from tools.server_load.faults import Fault, make_fault, one_of_each
from tools.server_load.report import Report
from tools.server_load.requests import Request

NO_SERVER_ERROR = "no status from 500 on"
EVERY_ANSWER = "every accepted request is answered to its end"
EQUAL_ANSWERS = "equal requests get equal bytes at any load"
RIGHT_STATUS = "a wrong request gets the status of its fault, and an error that says why"

_TIMEOUT = httpx.Timeout(300)
_JSON = {"content-type": "application/json"}
_CHUNK = 1 << 16
_NO_TLS = ssl.create_default_context()
"""One context for all clients: it takes 20 ms to make, and nothing here uses it."""


class Clients:
    """Some clients at once, each with a connection of its own.

    Args:
        url: The address of the server.
        requests: Valid requests.
        answers: The right answer to each of them by its number, in canonical form; `learn` fills it.
        report: Gets counts and broken promises.
    """

    def __init__(self, url: str, requests: Sequence[Request], answers: dict[int, str], report: Report) -> None:
        self._url = url
        self._requests = requests
        self._answers = answers
        self._report = report

    async def learn(self) -> None:
        """Ask for every answer, one after the other, while nothing else runs."""
        async with self._connect() as http:
            for number, request in enumerate(self._requests):
                response = await http.post(request.path, json=request.body)
                await self._take(number, response.status_code, response.headers, response.text)

    async def warm_up(self, count: int, seconds: float, seed: int) -> None:
        """Do what `load` does, but first send every kind of fault, as they take most of the memory."""

        async def fail(pick: random.Random) -> None:
            async with self._connect() as http:
                for fault in one_of_each(pick, pick.choice(self._requests)):
                    await self._send(http, fault)

        await asyncio.gather(*(fail(random.Random(f"{seed} {n}")) for n in range(count)))
        await self.load(count, seconds, seed)

    async def load(self, count: int, seconds: float, seed: int) -> None:
        """Run clients for some seconds. Each ends with the request that it has then."""
        deadline = time.monotonic() + seconds
        await asyncio.gather(*(self._client(random.Random(f"{seed} {n}"), deadline) for n in range(count)))

    async def _client(self, pick: random.Random, deadline: float) -> None:
        actions, weights = zip(*self._actions().items(), strict=True)
        while time.monotonic() < deadline:
            [act] = pick.choices(actions, weights)
            async with self._connect(slow=act == self._slow_reader) as http:
                for _ in range(pick.randint(1, 20)):
                    await act(http, pick)
                    if time.monotonic() > deadline:
                        break
                    [act] = pick.choices(actions, weights) if act != self._slow_reader else [act]

    def _actions(self) -> dict[Callable[[httpx.AsyncClient, random.Random], Awaitable[None]], int]:
        """Return what a client may do, and how often it does it."""
        return {
            self._ask: 55,
            self._fail: 25,
            self._leave_early: 8,
            self._leave_in_stream: 8,
            self._slow_reader: 2,
            self._stop_sending: 2,
        }

    async def _ask(self, http: httpx.AsyncClient, pick: random.Random) -> None:
        number = pick.randrange(len(self._requests))
        request = self._requests[number]
        try:
            response = await http.post(request.path, json=request.body)
        except httpx.HTTPError as error:
            self._report.count(request.kind, type(error).__name__)
            self._report.breaks(EVERY_ANSWER, f"{request.kind} {number}: {error!r}")
            return
        await self._take(number, response.status_code, response.headers, response.text)

    async def _take(self, number: int, status: int, headers: httpx.Headers, text: str) -> None:
        """Judge the whole answer to a valid request."""
        request = self._requests[number]
        self._report.count(request.kind, status)
        if status == 200:
            self._check_answer(number, text)
        elif status == 429 and "retry-after" in headers:
            await asyncio.sleep(0.1)
        elif status >= 500:
            self._report.breaks(NO_SERVER_ERROR, f"{request.kind} {number}: {status} {text[:300]}")
        else:
            self._report.breaks(EVERY_ANSWER, f"{request.kind} {number}: {status} {text[:300]}")

    def _check_answer(self, number: int, text: str) -> None:
        request = self._requests[number]
        try:
            answer = canonical(text, stream=request.stream)
        except IncompleteError as error:
            self._report.breaks(EVERY_ANSWER, f"{request.kind} {number}: {error}")
            return
        expected = self._answers.setdefault(number, answer)
        self._report.compared += 1
        if answer != expected:
            difference = first_difference(expected, answer)
            self._report.breaks(EQUAL_ANSWERS, f"{request.kind} {number}: {difference}")

    async def _fail(self, http: httpx.AsyncClient, pick: random.Random) -> None:
        await self._send(http, make_fault(pick, pick.choice(self._requests)))

    async def _send(self, http: httpx.AsyncClient, fault: Fault) -> None:
        content: bytes | AsyncIterator[bytes] = _chunks(fault.content) if fault.chunked else fault.content
        try:
            response = await http.post(fault.path, content=content, headers=_JSON)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
            self._report.count(fault.kind, "cut" if 413 in fault.statuses else type(error).__name__)
            if 413 not in fault.statuses:  # a server need not read on after it has refused a body
                self._report.breaks(RIGHT_STATUS, f"{fault.kind}: {error!r}, {_shown(fault)}")
            return
        self._report.count(fault.kind, response.status_code)
        self._check_fault(fault, response)

    def _check_fault(self, fault: Fault, response: httpx.Response) -> None:
        status = response.status_code
        case = f"{fault.kind}: {status} {response.text[:200]!r}, {_shown(fault)}"
        if status >= 500:
            self._report.breaks(NO_SERVER_ERROR, case)
            return
        is_right = status in fault.statuses or status == 429
        if not is_right or (status >= 400 and not response.json()["error"]["message"]):
            self._report.breaks(RIGHT_STATUS, case)

    async def _leave_early(self, http: httpx.AsyncClient, pick: random.Random) -> None:
        """Leave after a short time, perhaps before the first byte."""
        request = pick.choice(self._requests)
        try:
            async with asyncio.timeout(pick.random() ** 3):
                response = await http.post(request.path, json=request.body)
            self._report.count("leaves early", response.status_code)
        except TimeoutError:
            self._report.count("leaves early", "left")

    async def _leave_in_stream(self, http: httpx.AsyncClient, pick: random.Random) -> None:
        """Read a part of an answer, wait, and leave."""
        request = pick.choice(self._requests)
        async with http.stream("POST", request.path, json=request.body | {"stream": True}) as response:
            left = pick.randint(1, 10)
            async for _ in response.aiter_raw():
                left -= 1
                if not left:
                    break
            await asyncio.sleep(pick.choice([0, 0, 0.5, 2]))
        self._report.count("leaves in a stream", response.status_code)

    async def _slow_reader(self, http: httpx.AsyncClient, pick: random.Random) -> None:
        """Read an answer in small parts with pauses; it must be whole all the same."""
        number = pick.choice([n for n, request in enumerate(self._requests) if request.stream])
        request = self._requests[number]
        async with http.stream("POST", request.path, json=request.body) as response:
            data = bytearray()
            async for part in response.aiter_raw(4096):
                data += part
                await asyncio.sleep(0.02)
        await self._take(number, response.status_code, response.headers, data.decode())

    async def _stop_sending(self, http: httpx.AsyncClient, pick: random.Random) -> None:
        """Send a part of a body, and leave."""
        address = httpx.URL(self._url)
        _, writer = await asyncio.open_connection(address.host, address.port)
        head = f"POST /v1/completions HTTP/1.1\r\nhost: {address.host}\r\ncontent-length: 1000\r\n\r\n"
        writer.write(head.encode() + b'{"model":')
        await writer.drain()
        await asyncio.sleep(pick.random())
        writer.close()
        self._report.count("stops sending", "left")

    def _connect(self, *, slow: bool = False) -> httpx.AsyncClient:
        options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)] if slow else None
        transport = httpx.AsyncHTTPTransport(verify=_NO_TLS, socket_options=options)
        return httpx.AsyncClient(base_url=self._url, transport=transport, timeout=_TIMEOUT)


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), _CHUNK):
        yield content[begin : begin + _CHUNK]


def _shown(fault: Fault) -> str:
    return f"{fault.path} {fault.content[:200]!r} of {len(fault.content)} bytes"
