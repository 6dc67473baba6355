"""Measure BitNet-TT and other programs: `uv run python -m tools.compare --help`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from bitnet_tt.bench import run_benchmark
from bitnet_tt.bench.report.tables import tables
from bitnet_tt.cli.bench import BenchOptions, print_json, print_tables
from bitnet_tt.cli.errors import exit_on_errors
from bitnet_tt.cli.options import HubOptions, expand
from bitnet_tt.cli.progress import progress_bar
from tools.compare.llama_bench import LlamaBench, measure_llama_bench
from tools.compare.peer_table import peer_table
from tools.compare.peers import PeerResult, check_installed, measure_peer


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """The programs to compare with."""

    llama_cpp: Annotated[bool, typer.Option(help="Measure llama.cpp by llama-cpp-python, which must be installed.")] = (
        True
    )
    ik_llama_bench: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Measure ik_llama.cpp by this llama-bench of its build.")
    ] = None
    ik_llama_model: Annotated[
        Path | None, typer.Option(metavar="GGUF", help="Its model, of the same shape, such as one in IQ2_BN_R4.")
    ] = None
    bitnet_cpp_bench: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Measure bitnet.cpp by this llama-bench of its build.")
    ] = None
    bitnet_cpp_model: Annotated[
        Path | None, typer.Option(metavar="GGUF", help="Its model, of the same shape, such as one in I2_S.")
    ] = None

    def benches(self) -> list[LlamaBench]:
        """Return the bench programs that were given.

        Raises:
            typer.BadParameter: A program was given without its model, or a model without its program.
        """
        given = [
            ("ik_llama.cpp", "ik-llama", self.ik_llama_bench, self.ik_llama_model, True),
            ("bitnet.cpp", "bitnet-cpp", self.bitnet_cpp_bench, self.bitnet_cpp_model, False),
        ]
        benches = []
        for name, option, program, model, after_context in given:
            if (program is None) != (model is None):
                raise typer.BadParameter(f"--{option}-bench and --{option}-model belong together: give both")
            if program is not None and model is not None:
                benches.append(LlamaBench(name, program, model, after_context))
        return benches


def compare(
    hub: HubOptions,
    options: BenchOptions,
    programs: PeerOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure BitNet-TT as `bitnet-tt bench` does, then other programs.

    All run on the CPU with the same lengths and threads. llama.cpp also gets
    the same weights and batches. See tools/compare/README.md.

    Examples:
        uv run python -m tools.compare --synthetic 2b4t --cache-dir build/bench
        uv run python -m tools.compare --no-llama-cpp --synthetic 2b4t
            --ik-llama-bench PATH/llama-bench --ik-llama-model 2b4t.gguf
    """
    with exit_on_errors():
        benches = programs.benches()
        if programs.llama_cpp:
            check_installed()
        for bench in benches:
            bench.check()
        settings = options.settings("cpu")
        peers: list[tuple[PeerResult, ...]] = []
        with options.checkpoint(hub) as (path, folder):
            with progress_bar("Measuring BitNet-TT", patience=0) as progress:
                result = run_benchmark(path, settings, progress=progress)
            if programs.llama_cpp:
                with progress_bar("Measuring llama.cpp", patience=0) as progress:
                    peers.append(measure_peer(path, settings, result.roofs, folder=folder, progress=progress))
            for bench in benches:
                with progress_bar(f"Measuring {bench.name}", patience=0) as progress:
                    peers.append(measure_llama_bench(bench, settings, progress))
        if as_json:
            print_json(options.name, result, {"peers": [asdict(one) for peer in peers for one in peer]})
        else:
            print_tables(options.name, result, [*tables(result), *(peer_table(result, peer) for peer in peers)])


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(expand(compare))

if __name__ == "__main__":
    app(prog_name="python -m tools.compare")
