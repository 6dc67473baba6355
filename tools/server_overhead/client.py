"""The client, a process of its own: `python -m tools.server_overhead.client URL STREAMS TOKENS` prints a `Run`.

It speaks HTTP by itself and parses nothing while it reads, so that it takes little of the machine from the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from urllib.parse import urlsplit

from tools.server_overhead.work import PROMPT, Run, Work


async def read_streams(url: str, work: Work) -> Run:
    """Read streams of `POST /v1/completions`.

    Raises:
        SystemExit: An answer is not what was asked for.
    """
    await _read(url, 0, 1)  # does not count: the first answer of a new process takes longer
    cpu, started = time.process_time(), time.perf_counter()
    streams = await asyncio.gather(*(_read(url, seed, work.tokens) for seed in range(work.streams)))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    for _, answer in streams:
        if f'"completion_tokens":{work.tokens}'.encode() not in answer.replace(b" ", b""):
            raise SystemExit(f"{url} did not give {work.tokens} tokens: {answer[-500:]!r}")
    return Run(seconds, tuple(first for first, _ in streams), cpu)


async def _read(url: str, seed: int, tokens: int) -> tuple[float, bytes]:
    """Return the seconds to the first event, and all of the answer."""
    body = {
        "model": "demo",
        "prompt": PROMPT,
        "max_tokens": tokens,
        "ignore_eos": True,
        "seed": seed,
        "temperature": 1,
        "top_k": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    content = json.dumps(body).encode()
    address = urlsplit(url)
    assert address.hostname is not None
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head.encode() + content)
    answer = await reader.readuntil(b"data: ")
    first = time.perf_counter() - started
    answer += await reader.read()
    writer.close()
    return first, answer


if __name__ == "__main__":
    _, url, streams, tokens = sys.argv
    print(json.dumps(asdict(asyncio.run(read_streams(url, Work(int(streams), int(tokens)))))))
