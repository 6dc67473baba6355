"""The options of commands that serve over HTTP: addresses, access, limits and log."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bitnet_tt.cli.terminal import is_terminal
from bitnet_tt.server.auth import ApiKeys
from bitnet_tt.server.settings import Limits, ServerSettings

_LIMITS = Limits()
_DEFAULT = ServerSettings()
_LOCAL_HOSTS = ("localhost", "::1")

_AddressOption = partial(typer.Option, rich_help_panel="Address")
_AccessOption = partial(typer.Option, rich_help_panel="Access")
_LimitOption = partial(typer.Option, rich_help_panel="Limits")
_LogOption = partial(typer.Option, rich_help_panel="Log and metrics")


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How an engine serves many texts together."""

    max_batch: Annotated[int, _LimitOption(help="Maximum number of texts that are computed together.")] = (
        _DEFAULT.max_batch_size
    )
    speculate: Annotated[
        bool,
        typer.Option(
            "--speculate", help="Draft tokens from the texts themselves where that is faster; no text changes."
        ),
    ] = False
    max_stall_ms: Annotated[
        float,
        _LimitOption(help="Read long prompts in parts, so that running streams wait about this many milliseconds."),
    ] = _DEFAULT.max_stall_ms
    no_warm_up: Annotated[
        bool,
        typer.Option("--no-warm-up", help="Do not compare a card with the CPU first, and do not compile its programs."),
    ] = False


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Where a server listens, whom it lets in, and its limits."""

    host: Annotated[str, _AddressOption(help="Address to listen on; 0.0.0.0 or :: for every network.")] = _DEFAULT.host
    port: Annotated[int, _AddressOption(help="Port to listen on; 0 takes a free one.")] = _DEFAULT.port
    uds: Annotated[Path | None, _AddressOption(help="Listen on this Unix socket instead.")] = None
    tls_cert: Annotated[
        Path | None, _AddressOption(help="Certificate chain in PEM, to speak HTTPS; needs --tls-key.")
    ] = None
    tls_key: Annotated[Path | None, _AddressOption(help="Private key of the certificate in PEM.")] = None
    api_key_file: Annotated[
        Path | None,
        _AccessOption(help="File with a key on each line, or sha256: and its hash. Clients need one of them."),
    ] = None
    cors_origin: Annotated[
        list[str] | None,
        _AccessOption(help="Let web pages of this origin use the server; * means all. May be repeated."),
    ] = None
    max_queue: Annotated[
        int, _LimitOption(help="Maximum number of texts that wait; further requests get status 429.")
    ] = _LIMITS.queue
    max_tokens: Annotated[
        int | None, _LimitOption(help="Maximum number of tokens of an answer. Default: what the context holds.")
    ] = None
    max_body: Annotated[int, _LimitOption(help="Maximum size of a request in bytes.")] = _LIMITS.body_bytes
    request_timeout: Annotated[
        float | None,
        _LimitOption(
            help="Seconds that a request may wait and be computed; then it gets status 504. Default: no limit."
        ),
    ] = None
    drain_timeout: Annotated[
        float, _LimitOption(help="After SIGTERM or Ctrl-C, seconds for running requests to finish.")
    ] = _DEFAULT.drain_timeout
    log_text: Annotated[bool, _LogOption("--log-text", help="Log prompts and answers.")] = False
    no_metrics: Annotated[bool, _LogOption("--no-metrics", help="Do not serve /metrics.")] = False

    def settings(self, model_name: str, batch: BatchOptions) -> ServerSettings:
        """Return the settings of a server.

        Raises:
            ConfigError: An option is out of range, or the file of keys cannot be used.
        """
        return ServerSettings(
            model_name=model_name,
            host=self.host,
            port=self.port,
            uds=self.uds,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
            api_keys=None if self.api_key_file is None else ApiKeys.from_file(self.api_key_file),
            cors_origins=tuple(self.cors_origin or ()),
            max_batch_size=batch.max_batch,
            max_stall_ms=batch.max_stall_ms,
            limits=Limits(
                queue=self.max_queue,
                new_tokens=self.max_tokens,
                body_bytes=self.max_body,
                request_seconds=self.request_timeout,
            ),
            drain_timeout=self.drain_timeout,
            log_text=self.log_text,
            log_json=not is_terminal(sys.stderr),
            metrics=not self.no_metrics,
        )


def warnings_of(settings: ServerSettings) -> list[str]:
    """Return what people should know about the access to a server."""
    is_local = settings.uds is not None or settings.host in _LOCAL_HOSTS or settings.host.startswith("127.")
    if settings.api_keys is None and not is_local:
        return [f"everybody who can reach {settings.host} can use this server; --api-key-file asks for a key"]
    return []


def keys_of(settings: ServerSettings) -> str:
    """Return how many keys there are, for people."""
    return "none" if settings.api_keys is None else f"one of {len(settings.api_keys)} needed"


def name_of(model: str) -> str:
    """Return the name that clients use: a hub id as it is; of a path, its last part, without `.gguf`."""
    path = Path(model)
    return path.resolve().name.removesuffix(".gguf") if path.exists() else model
