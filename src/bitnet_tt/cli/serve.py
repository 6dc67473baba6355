"""`bitnet-tt serve`: answer other programs over HTTP."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bitnet_tt.cli.extras import require_extra
from bitnet_tt.cli.http_options import BatchOptions, HttpOptions, keys_of, name_of, warnings_of
from bitnet_tt.cli.options import MODEL_HELP, DeviceOptions, HubOptions, load_model
from bitnet_tt.cli.output import print_notes
from bitnet_tt.cli.progress import progress_bar
from bitnet_tt.cli.terminal import has_styles


def serve(
    device: DeviceOptions,
    hub: HubOptions,
    http: HttpOptions,
    batch: BatchOptions,
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)] = "demo",
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model for clients. Default: the name of its folder or file, or the hub id."),
    ] = None,
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
    require_extra("serve", "server")
    settings = http.settings(name_of(model) if name is None else name, batch)
    # Imported here because they import web packages, which are optional.
    from bitnet_tt.server.app import create_app
    from bitnet_tt.server.listen import check_tls, listening_socket, url_of
    from bitnet_tt.server.request_log import RequestLog
    from bitnet_tt.server.run import run_server
    from bitnet_tt.server.warm_up import warm_up

    check_tls(settings)
    log = RequestLog(as_json=settings.log_json, with_text=settings.log_text, styled=has_styles(stderr=True))
    with listening_socket(settings) as listener:
        loaded = load_model(
            model,
            device,
            hub,
            max_batch_size=batch.max_batch,
            max_stall_ms=batch.max_stall_ms,
            speculate=batch.speculate,
        )
        print_notes(warnings_of(settings))
        place = f"model {settings.model_name} on {loaded.backend.description}"
        ready = f"{url_of(settings, listener)}  {place}  key {keys_of(settings)}"

        def on_ready() -> None:
            typer.echo(f"Ready: {ready}")
            sys.stdout.flush()

        with loaded:
            if not batch.no_warm_up:
                with progress_bar("Warming up") as progress:
                    warm_up(loaded, batch.max_batch, progress)
            code = run_server(create_app(loaded, settings, log), listener, on_ready)
    if code:
        raise typer.Exit(code)
