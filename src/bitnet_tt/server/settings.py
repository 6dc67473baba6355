"""ServerSettings: how the server listens, whom it lets in, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bitnet_tt.checks import is_int, is_number, require
from bitnet_tt.server.auth import ApiKeys


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, and all requests together, may ask for.

    Attributes:
        queue: Maximum number of texts that wait for a place in the batch. A request beyond that gets status 429.
        body_bytes: Maximum size of a request's body.
        messages: Maximum number of messages of a chat.
        prompts: Maximum number of prompts of one request.
        embedded_texts: Maximum number of texts of one request for embeddings.
        choices: Maximum number of choices (`n`) of one request.
        stop_strings: Maximum number of stop strings.
        stop_length: Maximum number of characters of a stop string.
        new_tokens: Maximum number of tokens of an answer. None means as many as the context holds.
        body_seconds: Maximum time that a client may take to send a body.
        write_seconds: Maximum time that a client may take to read a piece of a stream.
        request_seconds: Maximum time from the arrival of a text at the engine to its end. A request that takes longer
            gets status 504. None means no limit.
        hang_seconds: If a step of the engine takes longer than this, `/ready` says that the server hangs.
    """

    queue: int = 128
    body_bytes: int = 4 << 20
    messages: int = 1024
    prompts: int = 64
    embedded_texts: int = 2048
    choices: int = 16
    stop_strings: int = 16
    stop_length: int = 1024
    new_tokens: int | None = None
    body_seconds: float = 30.0
    write_seconds: float = 60.0
    request_seconds: float | None = None
    hang_seconds: float = 300.0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: A value is out of range; the message names the field.
        """
        require("queue", self.queue, "0 or a positive integer", is_int(self.queue, 0))
        for name in ("body_bytes", "messages", "prompts", "embedded_texts", "choices", "stop_strings", "stop_length"):
            require(name, getattr(self, name), "a positive integer", is_int(getattr(self, name), 1))
        if self.new_tokens is not None:
            require("new_tokens", self.new_tokens, "a positive integer", is_int(self.new_tokens, 1))
        for name in ("body_seconds", "write_seconds", "request_seconds", "hang_seconds"):
            value = getattr(self, name)
            if name == "request_seconds" and value is None:  # no limit
                continue
            require(name, value, "a positive number of seconds", is_number(value, 0.0) and value > 0)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings of a server.

    Attributes:
        model_name: The name of the model in every API.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        uds: Path of a Unix socket to listen on, in place of `host` and `port`.
        tls_cert: File with the certificate chain, in PEM. With `tls_key`, the server speaks HTTPS.
        tls_key: File with the certificate's private key, in PEM.
        api_keys: The keys that clients need. None lets everybody in who can reach the server.
        cors_origins: Web pages of these origins may use the server; `*` means every page. Default: only its own page.
        max_batch_size: How many texts the engine computes together: those that count as running, not as waiting.
        max_stall_ms: The engine cuts long prompts, so that running streams wait about this many milliseconds at most.
        limits: What requests may ask for.
        drain_timeout: After SIGTERM, running requests get this many seconds to finish.
        keep_alive_seconds: A stream without text for this long gets a comment, so that no proxy closes it.
        log_text: Write prompts and answers to the log.
        log_json: One JSON object a line. False means lines for people.
        metrics: Serve `/metrics`.
    """

    model_name: str = "demo"
    host: str = "127.0.0.1"
    port: int = 8080
    uds: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    api_keys: ApiKeys | None = None
    cors_origins: tuple[str, ...] = ()
    max_batch_size: int = 8
    max_stall_ms: float = 200.0
    limits: Limits = field(default_factory=Limits)
    drain_timeout: float = 30.0
    keep_alive_seconds: float = 10.0
    log_text: bool = False
    log_json: bool = True
    metrics: bool = True

    def __post_init__(self) -> None:
        """Check every field that has limits.

        Raises:
            ConfigError: A value is out of range; the message names the field.
        """
        require("port", self.port, "an integer from 0 to 65535", is_int(self.port, 0, 65535))
        require("max_batch_size", self.max_batch_size, "a positive integer", is_int(self.max_batch_size, 1))
        stall = self.max_stall_ms
        require("max_stall_ms", stall, "a positive number", is_number(stall, 0.0) and stall > 0)
        timeout, pause = self.drain_timeout, self.keep_alive_seconds
        require("drain_timeout", timeout, "0 or a positive number of seconds", is_number(timeout, 0.0))
        require("keep_alive_seconds", pause, "a positive number of seconds", is_number(pause, 0.0) and pause > 0)
        both = (self.tls_cert is None) == (self.tls_key is None)
        require("tls_cert", str(self.tls_cert), "given together with tls_key", both)
