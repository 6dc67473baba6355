"""Format the comparison with llama.cpp as a table."""

from __future__ import annotations

from collections.abc import Sequence

from bitnet_tt.bench import BenchmarkResult
from bitnet_tt.bench.report.results import Speed
from bitnet_tt.bench.report.table import Table
from bitnet_tt.bench.report.tables import percent
from tools.compare.peers import PeerResult

_GIGA = 1e9
_NOTE = "of read: the peer's share of the read bandwidth. Peak GB: the peer's peak memory."


def peer_table(result: BenchmarkResult, peers: Sequence[PeerResult]) -> Table:
    """Return a table with a row for each phase and setting of the peer, and our speed with the same setting."""
    rows = []
    for peer in peers:
        ours = next(one for one in result.prefill if one.threads == peer.prefill.threads)
        rows.append(_row(peer, "prompt", ours, peer.prefill))
        for theirs in peer.decode:
            ours = next(one for one in result.decode if (one.threads, one.batch) == (theirs.threads, theirs.batch))
            rows.append(_row(peer, "generation", ours, theirs))
    headings = ("", "Threads", "Batch", "Ours", "Peer", "Ratio", "of read", "Peak GB")
    first = peers[0]
    return Table(f"Compared with {first.name} {first.version} ({first.format}), tokens/s", headings, rows, _NOTE)


def _row(peer: PeerResult, phase: str, ours: Speed, theirs: Speed) -> tuple[str, ...]:
    return (
        phase,
        str(theirs.threads),
        str(theirs.batch),
        f"{ours.tokens_per_s:,.1f}",
        f"{theirs.tokens_per_s:,.1f}",
        f"{ours.tokens_per_s / theirs.tokens_per_s:.2f}",
        percent(theirs.bandwidth_share),
        f"{peer.peak_rss_bytes / _GIGA:.2f}",
    )
