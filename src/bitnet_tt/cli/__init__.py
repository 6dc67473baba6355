"""The `bitnet-tt` program. Each command is one file, and imports heavy modules only when it runs."""

from bitnet_tt.cli.app import app
from bitnet_tt.cli.signals import exit_on_signals


def main() -> None:
    """Run the command line."""
    exit_on_signals()
    app(prog_name="bitnet-tt")


__all__ = ["app", "main"]
