"""Record a real terminal session as an SVG picture, such as docs/images/terminal.svg.

    uv run python tools/terminal_picture/record.py docs/images/terminal.svg

The commands run in a pseudo-terminal, one after the other. The picture shows what they printed, colours included.
"""

from __future__ import annotations

import argparse
import os
import pty
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 88
ERASE_LINE, MOVE_UP = "\x1b[2K", "\x1b[1A"
COMMANDS = (
    "bitnet-tt generate 'Once upon a time, there was a little fox' -n 70 --stats",
    "echo 'What is the capital of Italy?' | bitnet-tt chat",
    "bitnet-tt self-test --threads 2",
)

# As rich's own template, but without fonts from the network: a reader's browser loads nothing.
TEMPLATE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
    <style>
    .{unique_id}-matrix {{
        font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
    }}
    .{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: arial, sans-serif; }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""


def run(command: str) -> str:
    """Run a shell command on a pseudo-terminal of `COLUMNS` columns; return what it printed.

    Raises:
        SystemExit: The command failed.
    """
    output: list[bytes] = []

    def read(terminal: int) -> bytes:
        data = os.read(terminal, 4096)
        output.append(data)
        return data

    # `stty` sets the width of the pseudo-terminal, which programs read.
    status = pty.spawn(["/bin/sh", "-c", f"stty cols {COLUMNS} rows 50; {command}"], read, lambda _: b"")
    if status:
        raise SystemExit(f"this command failed: {command}")
    return visible(b"".join(output).decode(errors="replace"))


def visible(output: str) -> str:
    """Return what is on the screen at the end: erased lines, such as progress bars, are gone."""
    lines: list[str] = []
    for line in output.replace("\r\n", "\n").split("\n"):
        before, erased, after = line.rpartition(ERASE_LINE)
        if MOVE_UP in before and lines:
            lines.pop()
        lines.append(after if erased else line)
    return "\n".join(lines).strip("\n")


def record(commands: tuple[str, ...], target: Path) -> None:
    """Run commands and draw their output into an SVG file."""
    # The scripts of this Python's environment come first, so that `bitnet-tt` is the one of this clone.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with Path(os.devnull).open("w") as nothing:
        console = Console(record=True, width=COLUMNS, force_terminal=True, color_system="truecolor", file=nothing)
        for index, command in enumerate(commands):
            if index:
                console.print()
            console.print(Text(f"$ {command}", style="bold green"), soft_wrap=True)
            console.print(Text.from_ansi(run(command)), soft_wrap=False)
        target.write_text(console.export_svg(title="BitNet-TT", code_format=TEMPLATE), encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="the SVG file to write")
    parser.add_argument("commands", nargs="*", help="shell commands; default: " + "; ".join(map(shlex.quote, COMMANDS)))
    arguments = parser.parse_args()
    record(tuple(arguments.commands) or COMMANDS, arguments.target)


if __name__ == "__main__":
    main()
