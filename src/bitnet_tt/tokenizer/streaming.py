"""Token ids to text, one at a time, without ever giving half a character."""

from __future__ import annotations

import codecs

from bitnet_tt.tokenizer.tokenizer import Tokenizer


class StreamDecoder:
    """Decode ids as they come, in time linear in their number.

    The pieces joined are exactly `Tokenizer.decode` of all the ids: bytes that are no valid UTF-8 become U+FFFD, and a
    character whose bytes are spread over tokens comes with its last one.
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special_tokens: bool = True, continues: bool = False) -> None:
        """Start an empty text.

        Args:
            tokenizer: Whose ids they are.
            skip_special_tokens: Leave out control tokens such as `<|eot_id|>`.
            continues: The text goes on from an earlier one, so sentencepiece's space before a first word is kept.
        """
        self._token_bytes = tokenizer.token_bytes
        self._skipped = tokenizer.special_ids if skip_special_tokens else frozenset()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip_space = tokenizer.token_bytes.strip_space and not continues

    def push(self, token_id: int) -> str:
        """Take the next id; return the text that is complete with it, which may be empty."""
        if token_id in self._skipped:
            return ""
        return self._emit(self._utf8.decode(self._token_bytes(token_id)))

    def flush(self) -> str:
        """End the text; return what is left of an unfinished character, as U+FFFD."""
        return self._emit(self._utf8.decode(b"", final=True))

    def _emit(self, text: str) -> str:
        if self._strip_space and text:
            self._strip_space = False
            return text.removeprefix(" ")
        return text
