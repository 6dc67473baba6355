"""Token ids to text, one at a time, without ever giving half a character."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer.bpe import SPACE, byte_alphabet

if TYPE_CHECKING:
    import tokenizers

    from bitnet_tt.tokenizer.tokenizer import Tokenizer

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SENTENCEPIECE_DECODERS = {"Replace", "ByteFallback", "Fuse", "Strip"}


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


class TokenBytes:
    """The bytes each token stands for, worked out once.

    Attributes:
        byte_level: Whether tokens are written in the byte alphabet, or as sentencepiece has them.
        strip_space: Whether one space at the start of a text is the tokenizer's own and not the text's.
    """

    def __init__(self, engine: tokenizers.Tokenizer) -> None:
        """Read how the engine decodes.

        Raises:
            TokenizerError: It decodes neither byte-level nor sentencepiece tokens.
        """
        self._engine = engine
        self._known: dict[int, bytes] = {}
        steps = _decoder_steps(engine)
        kinds = {step["type"] for step in steps}
        self.byte_level = "ByteLevel" in kinds
        if not self.byte_level and (not kinds or kinds - _SENTENCEPIECE_DECODERS):
            raise TokenizerError(
                f"the tokenizer's decoder ({', '.join(sorted(kinds)) or 'none'}) is not supported; "
                "byte-level and sentencepiece BPE are"
            )
        self.strip_space = "Strip" in kinds
        self._bytes_of_characters = {character: byte for byte, character in byte_alphabet().items()}

    def __call__(self, token_id: int) -> bytes:
        """The bytes of a token; none for an id that the tokenizer does not have, as padding rows of a model are."""
        known = self._known.get(token_id)
        if known is None:
            token = self._engine.id_to_token(token_id) if token_id >= 0 else None
            known = self._known[token_id] = b"" if token is None else self._convert(token)
        return known

    def _convert(self, token: str) -> bytes:
        if self.byte_level:
            try:
                return bytes(self._bytes_of_characters[character] for character in token)
            except KeyError:  # an added token, which is written as itself
                return token.encode()
        byte_piece = _BYTE_PIECE.fullmatch(token)
        return bytes.fromhex(byte_piece[1]) if byte_piece else token.replace(SPACE, " ").encode()


def _decoder_steps(engine: tokenizers.Tokenizer) -> list[dict[str, Any]]:
    if engine.decoder is None:
        return []
    decoder = json.loads(engine.decoder.__getstate__())
    return list(decoder["decoders"]) if decoder["type"] == "Sequence" else [decoder]
