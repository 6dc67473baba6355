"""The command line: all commands, and the help, version and exit codes that they share."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bitnet_tt.cli.bench import bench
from bitnet_tt.cli.chat import chat
from bitnet_tt.cli.convert import convert
from bitnet_tt.cli.doctor.command import doctor
from bitnet_tt.cli.embed import embed
from bitnet_tt.cli.errors import exit_on_errors
from bitnet_tt.cli.export import export
from bitnet_tt.cli.generate import generate
from bitnet_tt.cli.info import info
from bitnet_tt.cli.options import expand
from bitnet_tt.cli.perplexity import perplexity
from bitnet_tt.cli.plan import plan
from bitnet_tt.cli.scale import scale
from bitnet_tt.cli.self_test import self_test
from bitnet_tt.cli.serve import serve
from bitnet_tt.cli.streams import abandon_output, prepare_streams
from bitnet_tt.cli.terminal import use_plain_help


class _Group(TyperGroup):
    """Runs every command with `exit_on_errors`, and makes the standard streams fit to use."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        prepare_streams()
        use_plain_help()
        try:
            with exit_on_errors():  # help and the version are printed outside `invoke`
                return super().main(*arguments, **options)
        except typer.Exit as end:
            sys.exit(end.exit_code)
        finally:
            abandon_output()

    def invoke(self, ctx: Any) -> Any:
        with exit_on_errors():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"bitnet-tt {version('bitnet-tt')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _bitnet_tt(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run BitNet b1.58 language models: exactly on the CPU, or on Tenstorrent Blackhole.

    Start here:
        bitnet-tt generate "Once upon a time"
        bitnet-tt chat
        bitnet-tt serve
        bitnet-tt doctor

    MODEL is "demo" (comes with the package), a folder, a .gguf file, or a hub
    id such as microsoft/bitnet-b1.58-2B-4T.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _command in (generate, chat, serve, embed, info, convert, export, self_test, perplexity, bench, plan, doctor):
    app.command(name=_command.__name__.replace("_", "-"))(expand(_command))
app.add_typer(scale, name="scale")
