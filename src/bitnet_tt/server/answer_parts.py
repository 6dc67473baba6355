"""The parts of an answer, found while it is generated: text, and calls of tools."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from bitnet_tt.server.call_syntax import OBJECT, CallSyntax


@dataclass(slots=True)
class Part:
    """A part of an answer: text, or a call.

    Attributes:
        tool: The name of the tool of a call; None for text.
        place: Its number among the parts, from 0 on.
        call: The number of a call among the calls, from 0 on.
        id: A name for the part, which no other part has.
        pieces: The text so far; of a call, its arguments as JSON.
    """

    tool: str | None
    place: int
    call: int
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text so far; of a call, its arguments as JSON."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to a part: it begins, gets more text, or ends."""

    kind: Literal["begin", "text", "end"]
    part: Part
    text: str = ""


class AnswerParts:
    """Turns the text of one answer into its parts. With tools, the text fits `call_grammar`.

    Text that may become the beginning of a call is held back until it is certain.

    Args:
        syntax: How calls are written. None: there are none, and all of the answer is text.

    Attributes:
        parts: The parts so far.
    """

    def __init__(self, syntax: CallSyntax | None) -> None:
        """Begin an answer."""
        self._syntax = syntax
        self._held = ""
        self._state: Literal["plain", "text", "name", "arguments", "after"] = "plain" if syntax is None else "text"
        self._json = _ObjectEnd()
        self.parts: list[Part] = []

    @property
    def ends_with_call(self) -> bool:
        """Whether the last part is a complete call. A call that a limit or a stop string cut is not."""
        return self._syntax is not None and self._state == "after" and self._held == "}" + self._syntax.last

    def push(self, text: str, *, last: bool = False) -> Iterator[Step]:
        """Add text; yield what has become certain. With `last`, the answer ends, and has at least one part."""
        self._held += text
        before = None
        while before != (self._held, self._state):
            before = self._held, self._state
            yield from self._advance()
        if last:
            if self._syntax is not None and self._state == "text":
                yield from self._text(self._held.partition(self._syntax.mark)[0])
            if not self.parts:
                yield from self._begin(None)
            yield from self._end()

    def push_all(self, text: str) -> list[Part]:
        """Return the parts of a whole answer."""
        for _ in self.push(text, last=True):
            pass
        return self.parts

    def _advance(self) -> Iterator[Step]:
        """Take from the held text what belongs to the current state, and go to the next state if it is complete."""
        syntax = self._syntax
        if syntax is None or self._state == "plain":
            yield from self._text(self._take(len(self._held)))
        elif self._state == "text":
            begin = syntax.first + OBJECT
            at = self._held.find(begin)
            if not syntax.first and not begin.startswith(self._held[: len(begin)]):
                self._state = "plain"  # a call without a frame is the whole answer
            elif at >= 0:
                yield from self._text(self._take(at))
                self._take(len(begin))
                self._state = "name"
            else:
                yield from self._text(self._take(_without_beginning_of(self._held, begin)))
        elif self._state == "name":
            if (at := self._held.find(syntax.name_end)) >= 0:
                yield from self._begin(self._take(at))
                self._take(len(syntax.name_end))
                self._state, self._json = "arguments", _ObjectEnd()
        elif self._state == "arguments":
            end = self._json.find(self._held)
            yield from self._text(self._take(len(self._held) if end is None else end))
            if end is not None:
                self._state = "after"
        elif syntax.between is not None:
            next_call = "}" + syntax.between + OBJECT
            if self._held.startswith(next_call):
                self._take(len(next_call))
                self._state = "name"

    def _take(self, count: int) -> str:
        """Return the first characters of the held text, and remove them from it."""
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _begin(self, tool: str | None) -> Iterator[Step]:
        yield from self._end()
        part = Part(tool, len(self.parts), sum(one.tool is not None for one in self.parts))
        self.parts.append(part)
        yield Step("begin", part)

    def _text(self, text: str) -> Iterator[Step]:
        if text and not self.parts:
            yield from self._begin(None)
        if text:
            self.parts[-1].pieces.append(text)
            yield Step("text", self.parts[-1], text)

    def _end(self) -> Iterator[Step]:
        if self.parts:
            yield Step("end", self.parts[-1])


class _ObjectEnd:
    """Finds the end of a JSON object that comes in pieces."""

    def __init__(self) -> None:
        """Begin before the object."""
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def find(self, piece: str) -> int | None:
        """Return the number of characters of the next piece up to the object's end; None if it does not end there."""
        for index, character in enumerate(piece):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == '"':
                    self._in_string = False
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return index + 1
        return None


def _without_beginning_of(text: str, string: str) -> int:
    """Return the length of a text without its longest end that may be the beginning of a string."""
    longest = min(len(string) - 1, len(text))
    return len(text) - next((size for size in range(longest, 0, -1) if text.endswith(string[:size])), 0)
