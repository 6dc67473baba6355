"""The `bitnet-tt` program. Each command is one file, and imports heavy modules only when it runs."""

from bitnet_tt.cli.app import app


def main() -> None:
    """Run the command line."""
    app(prog_name="bitnet-tt")


__all__ = ["app", "main"]
