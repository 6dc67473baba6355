"""Fixtures of the command line."""

from tests.cli.conftest import run  # noqa: F401 (a fixture)
