"""Draw a benchmark: tokens per second over the batch size, with the two roofs of the machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from bitnet_tt.bench.report.results import BenchmarkResult, Roof, Speed
from bitnet_tt.errors import BenchmarkError

_GIGA = 1e9
_OURS, _READ, _INT8 = "#0072b2", "#d55e00", "#009e73"


def check(target: Path) -> None:
    """Check that a picture can be drawn. Call this before the measurement, which takes minutes.

    Raises:
        BenchmarkError: matplotlib is missing (the message names the extra that installs it), or it cannot write a file
            with the suffix of `target`.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchmarkError(
            "--plot needs matplotlib: install bitnet-tt with the extra [bench], for example with: uv sync --extra bench"
        )
    from matplotlib.figure import Figure

    formats = Figure().canvas.get_supported_filetypes()
    if target.suffix[1:] not in formats:
        raise BenchmarkError(f"{target} must end in the name of a picture format: {', '.join(sorted(formats))}")


def plot(name: str, result: BenchmarkResult, target: Path) -> None:
    """Draw one panel for each number of threads, and write the picture to `target`. Call `check` first."""
    from matplotlib.figure import Figure

    threads = list(dict.fromkeys(speed.threads for speed in result.decode))
    figure = Figure(figsize=(2 + 4 * len(threads), 5), layout="constrained")
    panels = figure.subplots(1, len(threads), sharey=True, squeeze=False)[0]
    for axes, count in zip(panels, threads, strict=True):
        _panel(axes, result, count)
    panels[0].set_ylabel("tokens/s, all sequences together")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.suptitle(f"{name} on {result.device}")
    figure.savefig(target, dpi=150)


def _panel(axes: Any, result: BenchmarkResult, threads: int) -> None:
    decode = sorted((speed for speed in result.decode if speed.threads == threads), key=lambda speed: speed.batch)
    batches = [speed.batch for speed in decode]
    rates = [speed.tokens_per_s for speed in decode]
    spread = [
        [speed.tokens_per_s - speed.least for speed in decode],
        [speed.greatest - speed.tokens_per_s for speed in decode],
    ]
    axes.errorbar(
        batches, rates, spread, color=_OURS, marker="o", capsize=3, label=f"generation after {result.context}"
    )
    prefill = next(speed for speed in result.prefill if speed.threads == threads)
    axes.axhline(prefill.tokens_per_s, color=_OURS, linestyle=":", label=f"prompt of {result.prompt_length}")
    for roof in result.roofs:
        if roof.threads == threads:
            _limits(axes, decode, result.operations_per_token, roof)
    axes.set(xscale="log", yscale="log", xlabel="sequences", title=f"{threads} thread{'s' if threads > 1 else ''}")
    axes.set_xticks(batches, [str(batch) for batch in batches], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(min(batches) / 1.5, max(batches) * 1.5)
    for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatter("{x:,.0f}")
    axes.grid(alpha=0.3, which="both")


def _limits(axes: Any, decode: list[Speed], operations: int, roof: Roof) -> None:
    known = [(speed.batch, speed.bytes_per_step) for speed in decode if speed.bytes_per_step]
    allowed = [batch * roof.read_gb_s.median * _GIGA / size for batch, size in known]
    axes.plot([batch for batch, _ in known], allowed, color=_READ, linestyle="--", marker="_", label="read limit")
    peak = roof.int8_gops.median * _GIGA / operations
    axes.axhline(peak, color=_INT8, linestyle="--", label="int8 limit")
