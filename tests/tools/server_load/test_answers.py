"""Two answers to one request are equal but for names, dates and the cache; a cut answer or an error is noticed."""

from __future__ import annotations

import json

import pytest

from tools.server_load.answers import IncompleteError, canonical, first_difference

END = "data: [DONE]\n\n"


def chunk(text: str, *, index: int = 0, end: str | None = None, name: str = "cmpl-1") -> str:
    choice = {"index": index, "text": text, "finish_reason": end}
    return f"data: {json.dumps({'id': name, 'created': 1, 'choices': [choice]})}\n\n"


def test_names_and_the_order_of_choices_do_not_count() -> None:
    one = chunk("a") + chunk("b", index=1, end="stop") + chunk("c", end="stop") + END
    other = "".join(
        [
            chunk("b", index=1, end="stop", name="cmpl-2"),
            chunk("a", name="cmpl-2"),
            ": keep-alive\n\n",
            chunk("c", end="stop", name="cmpl-2"),
            END,
        ]
    )
    assert canonical(one, stream=True) == canonical(other, stream=True)


def test_texts_count() -> None:
    one, other = (canonical(chunk(text, end="stop") + END, stream=True) for text in ("fox", "fax"))
    assert one != other
    assert "fox" in first_difference(one, other)


def test_tokens_of_the_cache_are_tokens_of_the_prompt() -> None:
    cached, fresh = (
        {"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": a, "cache_read_input_tokens": b}}
        for a, b in ((1, 8), (9, 0))
    )
    assert canonical(json.dumps(cached), stream=False) == canonical(json.dumps(fresh), stream=False)


@pytest.mark.parametrize(
    ("text", "stream"),
    [
        ("", True),
        (chunk("a", end="stop"), True),  # no [DONE]
        (chunk("a") + END, True),  # no finish reason
        (chunk("a") + 'data: {"error": {"message": "x"}}\n\n' + END, True),
        ('event: error\ndata: {"type": "error", "error": {"message": "x"}}\n\n', True),
        ('data: {"type": "message_start"}\n\n', True),
        ('data: {"type": "respo', True),
        ('{"choices": [{"index": 0, "finish_reason": null}]}', False),
        ('{"choices": [', False),
    ],
)
def test_what_is_not_complete_is_an_error(text: str, stream: bool) -> None:
    with pytest.raises(IncompleteError):
        canonical(text, stream=stream)
