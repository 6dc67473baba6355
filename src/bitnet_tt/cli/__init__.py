"""The `bitnet-tt` command. Each command is a file of its own, and imports what is heavy only when it runs."""

from bitnet_tt.cli.app import app


def main() -> None:
    """Run the command line."""
    app(prog_name="bitnet-tt")


__all__ = ["app", "main"]
