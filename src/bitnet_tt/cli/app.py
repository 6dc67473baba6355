"""The command line: all commands, and the help, version and exit codes that they share."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from bitnet_tt.cli.errors import exit_on_errors
from bitnet_tt.cli.options import expand
from bitnet_tt.cli.streams import abandon_output, prepare_streams
from bitnet_tt.cli.terminal import use_plain_help

_COMMANDS = {
    "generate": "generate",
    "chat": "chat",
    "serve": "serve",
    "embed": "embed",
    "info": "info",
    "convert": "convert",
    "export": "export",
    "self-test": "self_test",
    "perplexity": "perplexity",
    "bench": "bench",
    "plan": "plan",
    "doctor": "doctor.command",
    "scale": "scale",
}
"""The module of each command, which has a function of the command's name, in the order of the help."""


class _Group(TyperGroup):
    """Imports a command when it is called, runs it with `exit_on_errors`, and makes the standard streams fit to use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # An unknown name needs all commands: the error suggests similar ones.
        for name in [cmd_name] if cmd_name in _COMMANDS else _COMMANDS:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return super().get_command(ctx, cmd_name)

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


_SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "rich",
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

app = typer.Typer(cls=_Group, **_SETTINGS)


def _load(name: str) -> Any:
    """Import a command, and return it as Typer runs it."""
    module = import_module(f"bitnet_tt.cli.{_COMMANDS[name]}")
    command = getattr(module, name.replace("-", "_"))
    if isinstance(command, typer.Typer):
        group = get_group(command)
        group.name = name
        return group
    alone = typer.Typer(**_SETTINGS)
    alone.command(name=name)(expand(command))
    return get_command(alone)


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
