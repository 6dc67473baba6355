"""Fixtures that call the command line in this process."""

from collections.abc import Callable, Generator

import pytest
from typer.testing import CliRunner, Result

from bitnet_tt.cli import app
from bitnet_tt.engine import Engine, Request
from bitnet_tt.generation import Piece


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command as if on an 80-column terminal; unexpected exceptions fail the test."""

    def run_command(*arguments: str, stdin: str | bytes | None = None) -> Result:
        result = CliRunner(env={"COLUMNS": "80"}).invoke(app, arguments, input=stdin, prog_name="bitnet-tt")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run_command


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the next generation end as if Ctrl-C was pressed after `count` pieces."""

    def interrupt_after(count: int) -> None:
        original = Engine.outputs

        def outputs(self: Engine, request: Request) -> Generator[Piece]:
            monkeypatch.setattr(Engine, "outputs", original)
            stream = original(self, request)
            try:
                for index, piece in enumerate(stream):
                    if index == count:
                        raise KeyboardInterrupt
                    yield piece
            finally:
                stream.close()

        monkeypatch.setattr(Engine, "outputs", outputs)

    return interrupt_after
