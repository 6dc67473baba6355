"""A stream ends at the first stop string, however the text is split, and holds back only what may begin one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bitnet_tt.generation import StopStrings

texts = st.lists(st.text(alphabet="ab#", max_size=4), max_size=12)


@given(texts, st.lists(st.text(alphabet="ab#", min_size=1, max_size=4), max_size=3))
def test_a_stream_ends_where_the_whole_text_would(chunks: list[str], strings: list[str]) -> None:
    """The output ends where the first completed stop string begins, however the text is split into chunks."""
    stop = StopStrings(strings)
    out = ""
    for chunk in chunks:
        out += stop.push(chunk)
        if stop.found:
            break
    else:
        out += stop.flush()
    text = ""
    for chunk in chunks:
        text += chunk
        cuts = [text.find(string) for string in strings if string in text]
        if cuts:
            assert stop.found
            assert out == text[: min(cuts)]
            return
    assert not stop.found
    assert out == text


def test_text_that_may_begin_a_stop_string_is_held_back() -> None:
    stop = StopStrings(["\n\nUser:"])
    assert stop.push("Hello\n") == "Hello"
    assert stop.push("\nUs") == ""
    assert stop.push("age") == "\n\nUsage"
