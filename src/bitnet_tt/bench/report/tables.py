"""A benchmark as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bitnet_tt.bench.report.published import NOTE
from bitnet_tt.bench.report.results import BenchmarkResult, Busy, Memory, PeerResult, Profile, Speed, Spread

_GIGA = 1e9
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """A table: cells are texts, and columns from the second on are numbers."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def tables(result: BenchmarkResult, *, profile: bool = False) -> Iterator[Table]:
    """The tables of a result, in the order in which they are read.

    Args:
        result: What was measured.
        profile: Whether to show where a step's time goes.
    """
    yield _memory(result)
    if result.roofs:
        rows = [(str(roof.threads), _spread(roof.read_gb_s), _spread(roof.int8_gops)) for roof in result.roofs]
        title = "What the machine allows: median (least to greatest)"
        yield Table(title, ("Threads", "Read GB/s", "int8 10^9 op/s"), rows)
    yield _prefill(result)
    yield _decode(result)
    if result.busy is not None:
        yield _busy(result, result.busy)
    if result.peers:
        yield _peers(result)
    if profile:
        yield from map(_profile, result.profiles)
    if result.reported:
        yield _reported(result)


def _memory(result: BenchmarkResult) -> Table:
    rows = [
        ("Load", f"{result.load_s:.2f} s, all weights checked"),
        ("First token", f"{result.first_token_s:.2f} s after opening the files"),
        ("Peak memory", _peak(result.memory)),
        ("of it", _made_up_of(result.memory)),
        *([("in the file", _in_the_file(result.memory))] if result.memory.file_bytes else []),
        ("Energy", result.energy),
    ]
    return Table("", ("", ""), rows)


def _peak(memory: Memory) -> str:
    """The peak, and how many times the weights it is where it is not mostly Python."""
    size = _gigabytes(memory.peak_rss_bytes)
    if memory.weight_bytes < memory.interpreter_bytes:
        return size
    in_use = memory.weight_bytes + (memory.screen_bytes or 0)
    return f"{size}, {memory.peak_rss_bytes / in_use:.2f} times the weights in use"


def _made_up_of(memory: Memory) -> str:
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
    return f"{_gigabytes(memory.file_bytes or 0)} of the weights: single rows are read"


def _prefill(result: BenchmarkResult) -> Table:
    rows = [
        (str(speed.threads), _rate(speed), _percent(speed.int8_share), _joules(speed.joules_per_token))
        for speed in result.prefill
    ]
    title = f"Prompt of {result.prompt_length}, tokens/s: median (least to greatest)"
    return Table(title, ("Threads", "Tokens/s", "of int8 peak", "J/token"), rows)


def _decode(result: BenchmarkResult) -> Table:
    rows = [
        (
            str(speed.threads),
            str(speed.batch),
            _rate(speed),
            _megabytes(speed.bytes_per_step),
            _percent(speed.bandwidth_share),
            _percent(speed.int8_share),
            _tenths_of_percent(speed.head_rows_rescored),
            _joules(speed.joules_per_token),
        )
        for speed in result.decode
    ]
    headings = ("Threads", "Batch", "Tokens/s", "MB", "of read", "of int8", "head", "J/token")
    return Table(f"Generation of {result.new_tokens} after {result.context}, all sequences together", headings, rows)


def _busy(result: BenchmarkResult, busy: Busy) -> Table:
    rows = []
    for phase, alone, beside in (("prompt", result.prefill, busy.prefill), ("generation", result.decode, busy.decode)):
        for speed in beside:
            same = next(one for one in alone if (one.threads, one.batch) == (speed.threads, speed.batch))
            rows.append(
                (phase, str(speed.threads), _rate(same), _rate(speed), _percent(speed.tokens_per_s / same.tokens_per_s))
            )
    title = f"Tokens/s alone and beside {busy.processes} busy process{'es' if busy.processes > 1 else ''}"
    return Table(title, ("", "Threads", "Alone", "Beside", "Left"), rows)


def _peers(result: BenchmarkResult) -> Table:
    rows = []
    for peer in result.peers:
        ours = next(one for one in result.prefill if one.threads == peer.prefill.threads)
        rows.append(_peer_row(peer, "prompt", ours, peer.prefill))
        for speed in peer.decode:
            ours = next(one for one in result.decode if (one.threads, one.batch) == (speed.threads, speed.batch))
            rows.append(_peer_row(peer, "generation", ours, speed))
    headings = ("", "Threads", "Batch", "Here", "Peer", "Ratio", "of read", "Peak GB")
    first = result.peers[0]
    return Table(f"Beside {first.name} {first.version} ({first.format}), tokens/s", headings, rows)


def _peer_row(peer: PeerResult, phase: str, ours: Speed, theirs: Speed) -> tuple[str, ...]:
    return (
        phase,
        str(theirs.threads),
        str(theirs.batch),
        f"{ours.tokens_per_s:,.1f}",
        f"{theirs.tokens_per_s:,.1f}",
        f"{ours.tokens_per_s / theirs.tokens_per_s:.2f}",
        _percent(theirs.bandwidth_share),
        f"{peer.peak_rss_bytes / _GIGA:.2f}",
    )


def _profile(profile: Profile) -> Table:
    whole = sum(part.seconds for part in profile.parts)
    rows = [
        (
            part.name,
            f"{part.seconds * 1e3:.3f}",
            _percent(part.seconds / whole),
            _percent(part.waiting_s / part.seconds) if part.seconds else _UNKNOWN,
            _megabytes(part.bytes_read),
            f"{part.bytes_read / part.seconds / _GIGA:.1f}" if part.seconds else _UNKNOWN,
        )
        for part in profile.parts
    ]
    total = sum(part.bytes_read for part in profile.parts)
    rows.append(("all", f"{whole * 1e3:.3f}", "", "", _megabytes(total), f"{total / whole / _GIGA:.1f}"))
    what = "A prompt" if profile.phase == "prefill" else f"A step of {profile.batch}"
    return Table(f"{what}, {_threads(profile.threads)}", ("Part", "ms", "of time", "waiting", "MB", "GB/s"), rows)


def _reported(result: BenchmarkResult) -> Table:
    best = max((speed for speed in result.decode if speed.batch == 1), key=lambda one: one.tokens_per_s, default=None)
    rows = [("Here", f"{result.ternary_bytes / _GIGA:.2f}", _UNKNOWN, _UNKNOWN)]
    if best is not None:
        rows = [(*rows[0][:2], f"{1e3 / best.tokens_per_s:.1f}", _joules(best.joules_per_token))]
    rows += [
        (one.model, f"{one.memory_gb:.1f}", f"{one.ms_per_token:.0f}", f"{one.joules_per_token:.3f}")
        for one in result.reported
    ]
    threads = f" with {_threads(best.threads)}" if best else ""
    note = f"Here: memory counted, time measured{threads}, energy {result.energy}. {NOTE}"
    headings = ("", "GB without embedding", "ms/token", "J/token")
    return Table("Beside what the model's authors report", headings, rows, note)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _spread(spread: Spread) -> str:
    digits = 1 if spread.greatest < 1000 else 0
    return f"{spread.median:,.{digits}f} ({spread.least:,.{digits}f} to {spread.greatest:,.{digits}f})"


def _rate(speed: Speed) -> str:
    return _spread(Spread(speed.tokens_per_s, speed.least, speed.greatest))


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{share:.0%}"


def _tenths_of_percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{share:.1%}"


def _joules(energy: float | None) -> str:
    return _UNKNOWN if energy is None else f"{energy:.3f}"


def _megabytes(size: int | None) -> str:
    return _UNKNOWN if size is None else f"{size / 1e6:,.1f}"


def _gigabytes(size: int) -> str:
    return f"{size / _GIGA:.2f} GB" if size >= _GIGA else f"{size / 1e6:.1f} MB"
