"""Some seconds of the soak that is run by hand for minutes."""

from tools.scale.soak import soak


def test_random_events_change_no_answer() -> None:
    result = soak(seconds=8, workers=3, streams=4, pause=1.5, seed=1)
    assert (result.wrong, result.lost) == ([], [])
    assert result.answers > 0
    assert result.events > 0
