"""Decode token ids one at a time, and never return half a character."""

from __future__ import annotations

import codecs

from bitnet_tt.tokenizer.tokenizer import Tokenizer


class StreamDecoder:
    """Decodes the ids of one text as they arrive. The time is linear in their number.

    The pieces joined are exactly `Tokenizer.decode` of all ids. If the bytes of a character are spread over several
    tokens, the character comes with the last of them. Bytes that are not valid UTF-8 become U+FFFD.
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special_tokens: bool = True, continues: bool = False) -> None:
        """Start an empty text.

        Args:
            tokenizer: The tokenizer that the ids belong to.
            skip_special_tokens: Leave out control tokens such as `<|eot_id|>`.
            continues: The text continues an earlier one, so the space that sentencepiece puts before a first word is
                part of it.
        """
        self._token_bytes = tokenizer.token_bytes
        self._skipped = tokenizer.special_ids if skip_special_tokens else frozenset()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip_space = tokenizer.token_bytes.strip_space and not continues

    def push(self, token_id: int) -> str:
        """Add the next id. Return the text that it completes, which may be empty."""
        if token_id in self._skipped:
            return ""
        return self._strip(self._utf8.decode(self._token_bytes(token_id)))

    def flush(self) -> str:
        """End the text. Return U+FFFD for an unfinished character, otherwise an empty string."""
        return self._strip(self._utf8.decode(b"", final=True))

    def _strip(self, text: str) -> str:
        """Remove the tokenizer's own space from the first piece that has text."""
        if self._strip_space and text:
            self._strip_space = False
            return text.removeprefix(" ")
        return text
