"""Keep control tokens that users write apart from those of the chat template.

Messages come from users, who may write control tokens such as `<|eot_id|>` in them. Three steps keep these mere text:

1. `ChatEncoder.mark` puts a marker into every control token that a user wrote, before the template is rendered.
2. In the rendered text, control tokens without a marker are the template's own. `ChatEncoder.encode` replaces them by
   stand-ins that no text contains, and removes the markers from the rest.
3. Its engine knows the stand-ins, but not the control tokens. So it encodes the whole text at once, and all other
   tokens get the ids that they would have if users wrote no control tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import RequestError
from bitnet_tt.tokenizer import bpe

if TYPE_CHECKING:
    import tokenizers

_MARKERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""Unicode noncharacters: reserved for a program's internal use, never part of ordinary text."""


def strings(values: Any, name: str = "messages") -> list[str]:
    """Return all strings in some values, at any depth.

    Args:
        values: Values of the types that JSON has.
        name: What they are, for the error message.

    Raises:
        RequestError: A value is of another type, or the values are nested too deep; the message says where.
    """
    try:
        return list(_strings(values, name))
    except RecursionError:
        raise RequestError(f"{name} are nested too deep") from None


def _strings(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(key, f"a key of {path}")
            yield from _strings(item, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]")
    elif value is not None and not isinstance(value, bool | int | float):
        raise RequestError(f"{path} is of type {type(value).__name__}; only the types of JSON are possible")


def free_marker(texts: Iterable[str]) -> str:
    """Return a character that the texts do not contain.

    Raises:
        RequestError: They contain every possible marker.
    """
    joined = "".join(texts).lower()
    marker = next((marker for marker in _MARKERS if marker not in joined and _escape(marker) not in joined), None)
    if marker is None:
        raise RequestError("the text holds every Unicode noncharacter from U+FDD0 to U+FDEF; remove them")
    return marker


def _escape(marker: str) -> str:
    """Return the marker as JSON writes it in ASCII: a backslash, u, and its code in hexadecimal digits."""
    return f"\\u{ord(marker):04x}"


class ChatEncoder:
    """Marks the values of a template, and encodes the text that the template makes of them.

    Its engine has a stand-in for each control token and shares the model of the tokenizer's engine.
    """

    def __init__(self, engine: tokenizers.Tokenizer, special_ids: Set[int], marker: str) -> None:
        """Build the engine.

        Args:
            engine: The engine of the tokenizer.
            special_ids: The ids of the control tokens.
            marker: The result of `free_marker`. The stand-ins contain it.
        """
        from tokenizers import Tokenizer as Engine

        added = dict(sorted(engine.get_added_tokens_decoder().items()))
        if engine.encode_special_tokens:  # it reads control tokens as other text
            added = {token_id: token for token_id, token in added.items() if token_id not in special_ids}
        special = {token.content: token_id for token_id, token in added.items() if token_id in special_ids}
        self._marker = marker
        self._stand_ins = {content: f"{marker}{token_id}{marker}" for content, token_id in special.items()}
        self._engine = Engine(engine.model)
        if engine.normalizer is not None:
            self._engine.normalizer = engine.normalizer
        if engine.pre_tokenizer is not None:
            self._engine.pre_tokenizer = engine.pre_tokenizer
        contents = {token_id: self._stand_ins.get(token.content, token.content) for token_id, token in added.items()}
        self._engine.add_tokens([_renamed(token, contents[token_id]) for token_id, token in added.items()])
        self._ids = {self._engine.token_to_id(content): token_id for token_id, content in contents.items()}
        self._special_ids = special_ids
        unknown = getattr(engine.model, "unk_token", None)  # may be special; a character that has no token becomes it
        self._unknown_id = engine.token_to_id(unknown) if unknown is not None else None

        self._added_tokens = re.compile(f"({_any_of([token.content for token in added.values()])})")
        # The lookahead consumes only the first character, so that special tokens that overlap are found too.
        self._first_character = re.compile(f"(?={_any_of(special)})(.)", re.DOTALL | re.IGNORECASE)
        # A word such as `user` is not marked if a special token begins so: templates compare words.
        beginnings = {token[:end].lower() for token in special for end in range(1, len(token))}
        self._beginnings = tuple(beginning for beginning in beginnings if not beginning.isidentifier())

    def mark(self, values: Any, *, is_role: bool = False) -> Any:
        """Return a copy of the values with a marker inside every special token, so that none is intact after rendering.

        For example `<|eot_id|>` becomes `<` + marker + `|eot_id|>`. A text that ends with the beginning of a special
        token gets a marker at its end, because the next text may begin with the rest. Upper and lower case are the same
        here, because templates change it.

        Args:
            values: Strings in lists and mappings. The keys of mappings are marked too.
            is_role: The value is a role: a single word, which templates compare, is not marked.
        """
        if isinstance(values, str):
            if is_role and values.isidentifier():
                return values
            return self._mark_inside(values) + (self._marker if values.lower().endswith(self._beginnings) else "")
        if isinstance(values, Mapping):
            return {
                self._mark_inside(key) if isinstance(key, str) else key: self.mark(value, is_role=key == "role")
                for key, value in values.items()
            }
        return [self.mark(value) for value in values] if isinstance(values, list | tuple) else values

    def _mark_inside(self, text: str) -> str:
        return self._first_character.sub(rf"\g<1>{self._marker}", text)

    def encode(self, rendered: str) -> list[int]:
        """Convert rendered text to ids. Control tokens that are intact in it become their ids.

        Raises:
            RequestError: The text is not valid Unicode.
        """
        # A template that writes JSON in ASCII has escaped the marker.
        rendered = re.sub(re.escape(_escape(self._marker)), self._marker, rendered, flags=re.IGNORECASE)
        parts = self._added_tokens.split(rendered)
        return self.encode_plain("".join(self._stand_ins.get(p, p.replace(self._marker, "")) for p in parts))

    def encode_plain(self, text: str) -> list[int]:
        """Convert text of a user to ids, without any control token. The text does not contain the marker.

        Raises:
            RequestError: The text is not valid Unicode.
        """
        return [final for token_id in bpe.encode(self._engine, text) for final in self._original_ids(token_id)]

    def _original_ids(self, token_id: int) -> list[int]:
        """Return the id that a token has in the original engine, or the ids of the characters of a control token.

        Some vocabularies hold a control token as an ordinary one too, so that its characters can merge to it.
        """
        if token_id in self._ids:
            return [self._ids[token_id]]
        if token_id not in self._special_ids or token_id == self._unknown_id:
            return [token_id]
        model = self._engine.model
        return [token.id for character in model.id_to_token(token_id) for token in model.tokenize(character)]


def _any_of(texts: Iterable[str]) -> str:
    """Return a regular expression that matches any of the texts, the longest that fits; nothing if there are none."""
    # Python takes the first alternative that fits.
    return f"(?:{'|'.join(map(re.escape, sorted(texts, key=len, reverse=True))) or '(?!)'})"


def _renamed(token: tokenizers.AddedToken, content: str) -> tokenizers.AddedToken:
    """Return an added token with other content and the same rules for what it matches."""
    from tokenizers import AddedToken

    return AddedToken(
        content, single_word=token.single_word, lstrip=token.lstrip, rstrip=token.rstrip, normalized=token.normalized
    )
