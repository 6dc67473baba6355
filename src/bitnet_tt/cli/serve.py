"""`bitnet-tt serve`: answer other programs over HTTP."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bitnet_tt.cli.options import MODEL_HELP, DeviceOptions, HubOptions, load_model
from bitnet_tt.cli.output import print_notes
from bitnet_tt.cli.progress import progress_bar
from bitnet_tt.cli.terminal import has_styles, is_terminal
from bitnet_tt.errors import ConfigError
from bitnet_tt.server.auth import ApiKeys
from bitnet_tt.server.settings import Limits, ServerSettings

_LIMITS = Limits()
_DEFAULT = ServerSettings()
_PACKAGES = ("fastapi", "uvicorn", "prometheus_client")
_LOCAL_HOSTS = ("localhost", "::1")

_AddressOption = partial(typer.Option, rich_help_panel="Address")
_AccessOption = partial(typer.Option, rich_help_panel="Access")
_LimitOption = partial(typer.Option, rich_help_panel="Limits")
_LogOption = partial(typer.Option, rich_help_panel="Log and metrics")


def serve(
    device: DeviceOptions,
    hub: HubOptions,
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)] = "demo",
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model for clients. Default: the name of its folder or file, or the hub id."),
    ] = None,
    host: Annotated[str, _AddressOption(help="Address to listen on; 0.0.0.0 or :: for every network.")] = _DEFAULT.host,
    port: Annotated[int, _AddressOption(help="Port to listen on; 0 takes a free one.")] = _DEFAULT.port,
    uds: Annotated[Path | None, _AddressOption(help="Listen on this Unix socket instead.")] = None,
    tls_cert: Annotated[
        Path | None, _AddressOption(help="Certificate chain in PEM, to speak HTTPS; needs --tls-key.")
    ] = None,
    tls_key: Annotated[Path | None, _AddressOption(help="Private key of the certificate in PEM.")] = None,
    api_key_file: Annotated[
        Path | None,
        _AccessOption(help="File with a key on each line, or sha256: and its hash. Clients need one of them."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        _AccessOption(help="Let web pages of this origin use the server; * means all. May be repeated."),
    ] = None,
    max_batch: Annotated[
        int, _LimitOption(help="Maximum number of texts that are computed together.")
    ] = _DEFAULT.max_batch_size,
    speculate: Annotated[
        bool,
        typer.Option(
            "--speculate", help="Draft tokens from the texts themselves where that is faster; no text changes."
        ),
    ] = False,
    max_stall_ms: Annotated[
        float,
        _LimitOption(help="Read long prompts in parts, so that running streams wait about this many milliseconds."),
    ] = _DEFAULT.max_stall_ms,
    max_queue: Annotated[
        int, _LimitOption(help="Maximum number of texts that wait; further requests get status 429.")
    ] = _LIMITS.queue,
    max_tokens: Annotated[
        int | None, _LimitOption(help="Maximum number of tokens of an answer. Default: what the context holds.")
    ] = None,
    max_body: Annotated[int, _LimitOption(help="Maximum size of a request in bytes.")] = _LIMITS.body_bytes,
    request_timeout: Annotated[
        float | None,
        _LimitOption(
            help="Seconds that a request may wait and be computed; then it gets status 504. Default: no limit."
        ),
    ] = None,
    drain_timeout: Annotated[
        float, _LimitOption(help="After SIGTERM or Ctrl-C, seconds for running requests to finish.")
    ] = _DEFAULT.drain_timeout,
    no_warm_up: Annotated[
        bool,
        typer.Option("--no-warm-up", help="Do not compare a card with the CPU first, and do not compile its programs."),
    ] = False,
    log_text: Annotated[bool, _LogOption("--log-text", help="Log prompts and answers.")] = False,
    no_metrics: Annotated[bool, _LogOption("--no-metrics", help="Do not serve /metrics.")] = False,
) -> None:
    """Serve a model over HTTP: OpenAI's and Anthropic's APIs, and a chat page.

    Prints one line when it is ready. The log goes to standard error: lines for
    people on a terminal, otherwise one JSON object a line. SIGTERM or Ctrl-C
    lets running requests finish; a second one does not.

    Examples:
        bitnet-tt serve
        bitnet-tt serve -m microsoft/bitnet-b1.58-2B-4T --port 8000
        bitnet-tt serve --host 0.0.0.0 --api-key-file keys.txt
    """
    _require_extra()
    settings = ServerSettings(
        model_name=_name(model) if name is None else name,
        host=host,
        port=port,
        uds=uds,
        tls_cert=tls_cert,
        tls_key=tls_key,
        api_keys=None if api_key_file is None else ApiKeys.from_file(api_key_file),
        cors_origins=tuple(cors_origin or ()),
        max_batch_size=max_batch,
        max_stall_ms=max_stall_ms,
        limits=Limits(queue=max_queue, new_tokens=max_tokens, body_bytes=max_body, request_seconds=request_timeout),
        drain_timeout=drain_timeout,
        log_text=log_text,
        log_json=not is_terminal(sys.stderr),
        metrics=not no_metrics,
    )
    # Imported here because they import web packages, which are optional.
    from bitnet_tt.server.app import create_app
    from bitnet_tt.server.request_log import RequestLog
    from bitnet_tt.server.run import check_tls, listening_socket, run_server, url_of
    from bitnet_tt.server.warm_up import warm_up

    check_tls(settings)
    log = RequestLog(as_json=settings.log_json, with_text=log_text, styled=has_styles(stderr=True))
    with listening_socket(settings) as listener:
        loaded = load_model(
            model, device, hub, max_batch_size=max_batch, max_stall_ms=max_stall_ms, speculate=speculate
        )
        print_notes(_warnings(settings))
        keys = "none" if settings.api_keys is None else f"one of {len(settings.api_keys)} needed"
        ready = f"{url_of(settings, listener)}  model {settings.model_name} on {loaded.backend.description}  key {keys}"

        def on_ready() -> None:
            typer.echo(f"Ready: {ready}")
            sys.stdout.flush()

        with loaded:
            if not no_warm_up:
                with progress_bar("Warming up") as progress:
                    warm_up(loaded, max_batch, progress)
            code = run_server(create_app(loaded, settings, log), listener, on_ready)
    if code:
        raise typer.Exit(code)


def _require_extra() -> None:
    """Check that the packages of the extra are installed, without importing them.

    Raises:
        ConfigError: One is missing; the message says how to install them.
    """
    if any(importlib.util.find_spec(package) is None for package in _PACKAGES):
        raise ConfigError(
            "bitnet-tt serve needs the extra `server`: run `uv sync --extra server` where bitnet-tt was cloned, or "
            "`pip install 'bitnet-tt[server]'`"
        )


def _name(model: str) -> str:
    """Return the name that clients use: a hub id as it is; of a path, its last part, without `.gguf`."""
    path = Path(model)
    return path.resolve().name.removesuffix(".gguf") if path.exists() else model


def _warnings(settings: ServerSettings) -> list[str]:
    is_local = settings.uds is not None or settings.host in _LOCAL_HOSTS or settings.host.startswith("127.")
    if settings.api_keys is None and not is_local:
        return [f"everybody who can reach {settings.host} can use this server; --api-key-file asks for a key"]
    return []
