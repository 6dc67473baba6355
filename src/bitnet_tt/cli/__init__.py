"""The `bitnet-tt` program. Each command is one file, and imports heavy modules only when it runs."""

from bitnet_tt.cli.app import app
from bitnet_tt.cli.signals import exit_on_signals, ignore_signals


def main() -> None:
    """Run the command line."""
    exit_on_signals()
    try:
        app(prog_name="bitnet-tt")
    finally:
        ignore_signals()  # the program ends already: what runs at exit, such as closing a device, must not be cut


__all__ = ["app", "main"]
