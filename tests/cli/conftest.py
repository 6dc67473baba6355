"""The command line, called in this process."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bitnet_tt.cli import app


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command on an 80-column terminal that is none; unexpected exceptions fail the test."""

    def run_command(*arguments: str, stdin: str | bytes | None = None) -> Result:
        result = CliRunner(env={"COLUMNS": "80"}).invoke(app, arguments, input=stdin, prog_name="bitnet-tt")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run_command


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the next generation end as if Ctrl-C was pressed after some pieces."""
    from bitnet_tt.model import BitNetModel

    def interrupt_after(count: int) -> None:
        original = BitNetModel._pieces

        def pieces(self: BitNetModel, *arguments: Any, **options: Any) -> Iterator[Any]:
            monkeypatch.setattr(BitNetModel, "_pieces", original)
            for index, piece in enumerate(original(self, *arguments, **options)):
                if index == count:
                    raise KeyboardInterrupt
                yield piece

        monkeypatch.setattr(BitNetModel, "_pieces", pieces)

    return interrupt_after
