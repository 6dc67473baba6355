"""Format the measurements that a benchmark makes on request as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitnet_tt.bench.report.extra_results import RowsCost, Stall, Start
from bitnet_tt.bench.report.results import BenchmarkResult
from bitnet_tt.bench.report.table import Table

_ROWS_NOTE = "ms: the step with one row. of one: several rows of one text. texts: one row of each of several texts."
_STALL_NOTE = "Step: the mean time between two tokens of a text. Longest gap: the most, in any repeat."
_START_NOTE = (
    "Load has the tokenizer and the weights in it. Import is starting Python, importing modules, and what the other "
    "parts leave. The files are in the page cache."
)


def extra_tables(result: BenchmarkResult) -> Iterator[Table]:
    """Yield a table for each measurement that was asked for."""
    if result.verify_rows:
        yield _verify_rows(result.verify_rows)
    if result.stalls:
        yield _stalls(result.stalls)
    if result.starts:
        yield _starts(result.starts)


def _verify_rows(costs: Sequence[RowsCost]) -> Table:
    multiples = {(one.threads, one.context, one.sequences, one.rows): one.multiple for one in costs}
    counts = sorted({one.rows for one in costs} - {1})
    rows = [
        (
            str(one.threads),
            str(one.context),
            f"{one.seconds * 1e3:.2f}",
            *(f"{multiples[one.threads, one.context, 1, count]:.2f}" for count in counts),
            *(f"{multiples[one.threads, one.context, count, 1]:.2f}" for count in counts),
        )
        for one in costs
        if (one.sequences, one.rows) == (1, 1)
    ]
    headings = ("Threads", "Context", "ms", *(f"{n} of one" for n in counts), *(f"{n} texts" for n in counts))
    return Table("Time of a step with several rows, as multiples of one row", headings, rows, _ROWS_NOTE)


def _stalls(stalls: Sequence[Stall]) -> Table:
    rows = [
        (
            str(one.threads),
            str(one.texts),
            f"{one.step_s * 1e3:.1f}",
            f"{one.step_beside_s * 1e3:.1f}",
            f"{one.step_beside_s / one.step_s:.2f}",
            f"{one.longest_gap_s * 1e3:.1f}",
            f"{one.prompt_s:.2f}",
        )
        for one in stalls
    ]
    first = stalls[0]
    title = f"Texts after {first.context} tokens while a prompt of {first.prompt_length} is read"
    headings = ("Threads", "Texts", "Step ms", "beside", "ratio", "Longest gap ms", "Prompt s")
    return Table(title, headings, rows, _STALL_NOTE)


def _starts(starts: Sequence[Start]) -> Table:
    rows = [
        (
            str(one.threads),
            f"{one.seconds:.2f} ({one.least:.2f} to {one.greatest:.2f})",
            *(f"{s:.2f}" for s in (one.import_s, one.load_s, one.tokenizer_s, one.weights_s, one.first_step_s)),
        )
        for one in starts
    ]
    title = f"Start of the program to the first token, prompt of {starts[0].prompt_tokens}, seconds"
    headings = ("Threads", "Whole", "Import", "Load", "Tokenizer", "Weights", "First step")
    return Table(title, headings, rows, _START_NOTE)
