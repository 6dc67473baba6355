"""Format a benchmark as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitnet_tt.bench.report.extra_tables import extra_tables
from bitnet_tt.bench.report.published import NOTE
from bitnet_tt.bench.report.results import BenchmarkResult, Busy, CardPower, CardReport, Memory, Profile, Speed, Spread
from bitnet_tt.bench.report.table import Table

_GIGA = 1e9
_UNKNOWN = "-"
_POWER_HEADINGS = ("Batch", "Samples", "Board W", "Chip W", "MHz", "Tokens/J, board", "Tokens/J, chip")
_CARD_NOTE = "A clock of 800 MHz here means that the card does not speed up at work: see bitnet-tt doctor."
_MEDIAN = "median (lowest to highest)"


def tables(result: BenchmarkResult, *, profile: bool = False) -> Iterator[Table]:
    """Yield the tables of a result, in reading order.

    Args:
        result: The result of a benchmark.
        profile: Whether to include the profiles of a step.
    """
    yield _memory(result)
    if result.roofs:
        rows = [(str(roof.threads), _spread(roof.read_gb_s), _spread(roof.int8_gops)) for roof in result.roofs]
        title = f"Limits of this machine: {_MEDIAN}"
        yield Table(title, ("Threads", "Read GB/s", "int8 10^9 op/s"), rows)
    yield _prefill(result)
    yield _decode(result)
    if result.card is not None:
        yield from _card(result.card)
    if result.busy is not None:
        yield _busy(result, result.busy)
    if result.sampling:
        yield _sampling(result)
    yield from extra_tables(result)
    if profile:
        yield from map(_profile, result.profiles)
    if result.reported:
        yield _published(result)


def _memory(result: BenchmarkResult) -> Table:
    rows = [
        ("Load", f"{result.load_s:.2f} s, all weights checked"),
        ("First token", f"{result.first_token_s:.2f} s after opening the files"),
        ("Peak memory", _peak(result.memory)),
        ("consists of", _memory_parts(result.memory)),
        *([("in the file", _in_the_file(result.memory))] if result.memory.file_bytes else []),
        ("Energy", result.energy),
    ]
    return Table("", ("", ""), rows)


def _peak(memory: Memory) -> str:
    """Format the peak, and its ratio to the weights unless most of it is Python."""
    size = _gigabytes(memory.peak_rss_bytes)
    if memory.weight_bytes < memory.interpreter_bytes:
        return size
    in_use = memory.weight_bytes + (memory.screen_bytes or 0)
    return f"{size}, {memory.peak_rss_bytes / in_use:.2f} times the weights in use"


def _memory_parts(memory: Memory) -> str:
    parts = {
        "weights": memory.weight_bytes - (memory.file_bytes or 0),
        "lm_head's screen": memory.screen_bytes,
        "KV cache": memory.kv_cache_bytes,
        "Python": memory.interpreter_bytes,
    }
    large = memory.peak_rss_bytes >= _GIGA / 10
    unit, digits, name = (_GIGA, 2, "GB") if large else (1e6, 1, "MB")
    return ", ".join(f"{part} {size / unit:.{digits}f}" for part, size in parts.items() if size) + f" {name}"


def _in_the_file(memory: Memory) -> str:
    return f"{_gigabytes(memory.file_bytes or 0)} of the weights, read row by row"


def _prefill(result: BenchmarkResult) -> Table:
    rows = [
        (str(speed.threads), _rate(speed), percent(speed.int8_share), _joules(speed.joules_per_token))
        for speed in result.prefill
    ]
    title = f"Prompt of {result.prompt_length}, tokens/s: {_MEDIAN}"
    return Table(title, ("Threads", "Tokens/s", "of int8 peak", "J/token"), rows)


def _decode(result: BenchmarkResult) -> Table:
    rows = [
        (
            str(speed.threads),
            str(speed.batch),
            _rate(speed),
            _megabytes(speed.bytes_per_step),
            percent(speed.bandwidth_share),
            percent(speed.int8_share),
            percent(speed.head_rows_rescored, digits=1),
            _joules(speed.joules_per_token),
        )
        for speed in result.decode
    ]
    headings = ("Threads", "Batch", "Tokens/s", "MB", "of read", "of int8", "head", "J/token")
    title = f"Generation of {result.new_tokens} tokens after {result.context}, all sequences together"
    return Table(title, headings, rows)


def _card(card: CardReport) -> Iterator[Table]:
    """Yield what to paste into an issue: the card and its versions, and its power."""
    limits = [("TDP limit", card.tdp_limit_watts), ("board limit", card.board_limit_watts)]
    rows = [
        *((name, text) for name, text in card.versions.items()),
        ("board", ", ".join(card.boards) or _UNKNOWN),
        *((name, _UNKNOWN if watts is None else f"{watts:g} W") for name, watts in limits),
        ("power", card.note),
    ]
    yield Table("", ("", ""), rows)
    if card.power:
        yield Table("Power of the card while it generates", _POWER_HEADINGS, list(map(_power, card.power)), _CARD_NOTE)


def _power(power: CardPower) -> Sequence[str]:
    values = (power.board_watts, power.chip_watts, power.megahertz)
    speeds = (power.tokens_per_board_joule, power.tokens_per_chip_joule)
    return (
        str(power.batch),
        str(power.samples),
        *(_UNKNOWN if value is None else f"{value:.0f}" for value in values),
        *(_UNKNOWN if value is None else f"{value:.2f}" for value in speeds),
    )


def _busy(result: BenchmarkResult, busy: Busy) -> Table:
    rows = []
    for phase, alone, beside in (("prompt", result.prefill, busy.prefill), ("generation", result.decode, busy.decode)):
        for speed in beside:
            same = next(one for one in alone if (one.threads, one.batch) == (speed.threads, speed.batch))
            rows.append(
                (phase, str(speed.threads), _rate(same), _rate(speed), percent(speed.tokens_per_s / same.tokens_per_s))
            )
    title = f"Tokens/s alone and beside {busy.processes} busy process{'es' if busy.processes > 1 else ''}"
    return Table(title, ("", "Threads", "Alone", "Beside", "Share"), rows)


def _sampling(result: BenchmarkResult) -> Table:
    rows = [
        (speed.name, str(speed.threads), f"{speed.tokens_per_s:.2f}", f"{speed.share:.2f}", percent(speed.head_rows, 1))
        for speed in result.sampling
    ]
    title = "Sampling settings, one text, medians over the steps"
    return Table(title, ("Settings", "Threads", "Tokens/s", "of greedy", "head"), rows)


def _profile(profile: Profile) -> Table:
    whole = sum(part.seconds for part in profile.parts)
    rows = [
        (
            part.name,
            f"{part.seconds * 1e3:.3f}",
            percent(part.seconds / whole),
            percent(part.waiting_s / part.seconds) if part.seconds else _UNKNOWN,
            _megabytes(part.bytes_read),
            f"{part.bytes_read / part.seconds / _GIGA:.1f}" if part.seconds else _UNKNOWN,
        )
        for part in profile.parts
    ]
    total = sum(part.bytes_read for part in profile.parts)
    rows.append(("all", f"{whole * 1e3:.3f}", "", "", _megabytes(total), f"{total / whole / _GIGA:.1f}"))
    what = "Prefill" if profile.phase == "prefill" else f"Decode step, batch {profile.batch}"
    return Table(f"{what}, {_threads(profile.threads)}", ("Part", "ms", "of time", "waiting", "MB", "GB/s"), rows)


def _published(result: BenchmarkResult) -> Table:
    best = max((speed for speed in result.decode if speed.batch == 1), key=lambda one: one.tokens_per_s, default=None)
    time, energy = _UNKNOWN, _UNKNOWN
    if best is not None:
        time, energy = f"{1e3 / best.tokens_per_s:.1f}", _joules(best.joules_per_token)
    rows = [("This machine", f"{result.ternary_bytes / _GIGA:.2f}", time, energy, _UNKNOWN)]
    for one in result.reported:
        estimate = f"{one.arithmetic_joules_per_512_tokens:.3f}"
        rows.append((one.model, f"{one.memory_gb:.1f}", f"{one.ms_per_token:.0f}", _UNKNOWN, estimate))
    threads = f" with {_threads(best.threads)}" if best else ""
    note = f"This machine: memory counted, time measured{threads}, energy {result.energy}. {NOTE}"
    headings = ("", "GB, no embedding", "ms/token", "J/token", "estimated J/512 tokens")
    return Table("Compared with the figures that the model's authors published", headings, rows, note)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _spread(spread: Spread) -> str:
    digits = 1 if spread.greatest < 1000 else 0
    return f"{spread.median:,.{digits}f} ({spread.least:,.{digits}f} to {spread.greatest:,.{digits}f})"


def _rate(speed: Speed) -> str:
    return _spread(Spread(speed.tokens_per_s, speed.least, speed.greatest))


def percent(share: float | None, digits: int = 0) -> str:
    """Format a share as a percentage, or as `-` if it is None."""
    return _UNKNOWN if share is None else f"{share:.{digits}%}"


def _joules(energy: float | None) -> str:
    return _UNKNOWN if energy is None else f"{energy:.3f}"


def _megabytes(size: int | None) -> str:
    return _UNKNOWN if size is None else f"{size / 1e6:,.1f}"


def _gigabytes(size: int) -> str:
    return f"{size / _GIGA:.2f} GB" if size >= _GIGA else f"{size / 1e6:.1f} MB"
