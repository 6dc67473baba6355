"""The random numbers of a seed never change, on any machine."""

from __future__ import annotations

from bitnet_tt.sampling.random import RandomStream


def test_the_numbers_of_a_seed_are_pinned() -> None:
    """If they changed, a seed would no longer give the text that it gave before."""
    stream = RandomStream(42)
    assert [stream.below(1000) for _ in range(6)] == [820, 189, 867, 394, 368, 434]


def test_streams_without_a_seed_differ() -> None:
    assert RandomStream(None).below(1 << 63) != RandomStream(None).below(1 << 63)
