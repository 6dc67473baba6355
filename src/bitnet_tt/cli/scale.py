"""`bitnet-tt scale`: one model on many workers, on one machine or several."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_tt.cli.extras import require_extra
from bitnet_tt.cli.http_options import BatchOptions, HttpOptions, keys_of, name_of, warnings_of
from bitnet_tt.cli.options import MODEL_HELP, DeviceOptions, HubOptions, expand, load_model
from bitnet_tt.cli.output import print_notes
from bitnet_tt.cli.progress import progress_bar
from bitnet_tt.cli.terminal import has_styles, is_terminal
from bitnet_tt.scale.cluster import ClusterSettings, default_folder

if TYPE_CHECKING:
    from bitnet_tt.scale.runtime import WorkerInfo

_ClusterOption = partial(typer.Option, rich_help_panel="Cluster")

scale = typer.Typer(help="Serve one model from many workers, on one machine or several.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Where the processes of a cluster find each other."""

    folder: Annotated[
        Path | None,
        _ClusterOption(
            help="Find each other in this folder, on one machine. Default: a folder of this user in the temporary one.",
            file_okay=False,
        ),
    ] = None
    etcd: Annotated[
        list[str],
        _ClusterOption(help="Find each other in this etcd instead, such as http://10.0.0.1:2379. May be repeated."),
    ] = field(default_factory=list)
    address: Annotated[
        str,
        _ClusterOption(
            help="IPv4 address of this machine for the other machines. They can then use everything without a key."
        ),
    ] = "127.0.0.1"
    namespace: Annotated[str, _ClusterOption(help="Clusters of other namespaces do not see each other.")] = "bitnet"

    def configure(self, command: str) -> ClusterSettings:
        """Return the settings, and set Dynamo's environment by them.

        Raises:
            ConfigError: The extra is missing, or an option cannot be used.
        """
        require_extra(f"scale {command}", "scale")
        from bitnet_tt.scale.environment import configure

        settings = ClusterSettings(self.folder or default_folder(), tuple(self.etcd), self.address, self.namespace)
        settings.check()
        configure(settings, log_json=not is_terminal(sys.stderr))
        return settings


def frontend(
    cluster: ClusterOptions,
    http: HttpOptions,
    name: Annotated[
        str | None, typer.Option(help="Serve the workers of this model name. Default: that of the first worker.")
    ] = None,
    stall_seconds: Annotated[
        float,
        _ClusterOption(help="Pass over a worker that says nothing for this long; one that computes says that it does."),
    ] = 5.0,
    wait_seconds: Annotated[
        float, _ClusterOption(help="If there is no worker, texts wait this long for one, then end in an error.")
    ] = 10.0,
) -> None:
    """Serve over HTTP what the workers of a cluster compute.

    It has the APIs and options of `bitnet-tt serve`. It waits for the first
    worker, and prints one line when it is ready. If a worker ends, hangs or
    is killed, its streams go on at another one, byte for byte.

    Examples:
        bitnet-tt scale frontend --port 8000
        bitnet-tt scale frontend --etcd http://10.0.0.1:2379 --address 10.0.0.2
    """
    settings = cluster.configure("frontend")
    # Imported here because they are slow to import, or import packages that are optional.
    import asyncio

    from bitnet_tt.scale.frontend import FleetSettings, run_frontend
    from bitnet_tt.scale.runtime import Cluster
    from bitnet_tt.server.listen import check_tls, listening_socket, url_of
    from bitnet_tt.server.request_log import RequestLog

    fleet = FleetSettings(name, stall_seconds, wait_seconds)
    server = http.settings(name or "", BatchOptions())
    check_tls(server)
    log = RequestLog(as_json=server.log_json, with_text=server.log_text, styled=has_styles(stderr=True))

    with listening_socket(server) as listener:
        print_notes(warnings_of(server))

        def on_ready(model: str) -> None:
            typer.echo(f"Ready: {url_of(server, listener)}  model {model}  key {keys_of(server)}")
            sys.stdout.flush()

        def tell(line: str) -> None:
            typer.echo(line, err=True)

        async def run() -> int:
            tell(f"waiting for a worker at {settings.place}")
            return await run_frontend(Cluster(settings), server, fleet, listener, log, tell=tell, on_ready=on_ready)

        code = asyncio.run(run())
    if code:
        raise typer.Exit(code)


def worker(
    device: DeviceOptions,
    hub: HubOptions,
    cluster: ClusterOptions,
    batch: BatchOptions,
    model: Annotated[str, typer.Argument(help=MODEL_HELP)] = "demo",
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model for clients. Default: the name of its folder or file, or the hub id."),
    ] = None,
    hang_seconds: Annotated[
        float, _ClusterOption(help="A step of the device that takes longer hangs: its texts go on elsewhere.")
    ] = 60.0,
    status_port: Annotated[
        int | None,
        _ClusterOption(help="Serve /health, /ready and /metrics at this port of --address. Default: not at all."),
    ] = None,
) -> None:
    """Compute texts for the frontends of a cluster.

    Run one for each processor or card. Prints one line when frontends can
    find it. SIGTERM or Ctrl-C hands its texts over to other workers at once.

    Examples:
        bitnet-tt scale worker demo
        bitnet-tt scale worker microsoft/bitnet-b1.58-2B-4T --device tt
    """
    settings = cluster.configure("worker")
    import asyncio

    from bitnet_tt.scale.card import ModelCard
    from bitnet_tt.scale.runtime import Cluster
    from bitnet_tt.scale.worker import run_worker
    from bitnet_tt.server.listen import listening_socket
    from bitnet_tt.server.settings import ServerSettings
    from bitnet_tt.server.warm_up import warm_up

    with ExitStack() as stack:
        status_listener = None
        if status_port is not None:
            address = ServerSettings(host=settings.address, port=status_port)
            status_listener = stack.enter_context(listening_socket(address))
        loaded = stack.enter_context(
            load_model(
                model,
                device,
                hub,
                max_batch_size=batch.max_batch,
                max_stall_ms=batch.max_stall_ms,
                speculate=batch.speculate,
            )
        )
        if not batch.no_warm_up:
            with progress_bar("Warming up") as progress:
                warm_up(loaded, batch.max_batch, progress)
        card = ModelCard.of(loaded, name_of(model) if name is None else name, batch.max_batch)

        def on_ready() -> None:
            typer.echo(f"Serving: model {card.name} {card.fingerprint} on {card.device}  cluster {settings.place}")
            sys.stdout.flush()

        async def run() -> None:
            await run_worker(
                loaded,
                card,
                Cluster(settings),
                hang_seconds=hang_seconds,
                status_listener=status_listener,
                on_ready=on_ready,
            )

        asyncio.run(run())


def status(
    cluster: ClusterOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each worker.")] = False,
) -> None:
    """List the workers of a cluster.

    Workers of one model name have one fingerprint. The exit code is 1 if there
    is no worker.

    Examples:
        bitnet-tt scale status
        bitnet-tt scale status --etcd http://10.0.0.1:2379 --json
    """
    settings = cluster.configure("status")
    import asyncio

    from bitnet_tt.scale.runtime import Cluster

    async def run() -> dict[int, WorkerInfo | None]:
        joined = Cluster(settings)
        try:
            return await joined.list_workers()
        finally:
            joined.runtime.shutdown()

    workers = asyncio.run(run())
    for one, info in sorted(workers.items()):
        if as_json:
            typer.echo(json.dumps({"worker": f"{one:x}"} | (asdict(info) if info else {"answers": False})))
        elif info is None:
            typer.echo(f"{one:x}  does not answer: it hangs, or has just ended")
        else:
            load = f"{info.running} running, {info.waiting} waiting"
            typer.echo(f"{one:x}  {info.card.name}  {info.card.fingerprint}  {info.card.device}  {load}")
    if not workers:
        typer.echo(f"no worker at {settings.place}", err=True)
        raise typer.Exit(1)


for _command in (frontend, worker, status):
    scale.command(name=_command.__name__)(expand(_command))
