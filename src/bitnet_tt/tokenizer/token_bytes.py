"""The bytes that each token id stands for."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from bitnet_tt.errors import TokenizerError
from bitnet_tt.tokenizer.bpe import SPACE, byte_alphabet

if TYPE_CHECKING:
    import tokenizers

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SENTENCEPIECE_DECODERS = {"Replace", "ByteFallback", "Fuse", "Strip"}


class TokenBytes:
    """Returns the bytes of a token id. Each id is converted once and then remembered.

    Attributes:
        byte_level: True if tokens are written in the byte alphabet, False if they are sentencepiece pieces.
        strip_space: Whether the tokenizer puts a space before each text, which decoding has to remove.
    """

    def __init__(self, engine: tokenizers.Tokenizer) -> None:
        """Find out from the engine's decoder how its tokens are written.

        Raises:
            TokenizerError: The decoder is neither byte-level nor sentencepiece.
        """
        self._engine = engine
        self._added = engine.get_added_tokens_decoder()
        self._known: dict[int, bytes] = {}
        steps = _decoder_steps(engine)
        kinds = {step["type"] for step in steps}
        self.byte_level = "ByteLevel" in kinds
        if not self.byte_level and (not kinds or kinds - _SENTENCEPIECE_DECODERS):
            raise TokenizerError(
                f"the tokenizer's decoder ({', '.join(sorted(kinds)) or 'none'}) is not supported; "
                "only byte-level and sentencepiece BPE are"
            )
        self.strip_space = "Strip" in kinds
        self._bytes_of_characters = {character: byte for byte, character in byte_alphabet().items()}

    def __call__(self, token_id: int) -> bytes:
        """Return the bytes of a token. An id without a token, such as a padding row of the model, has no bytes."""
        known = self._known.get(token_id)
        if known is None:
            token = self._engine.id_to_token(token_id) if token_id >= 0 else None
            known = self._known[token_id] = b"" if token is None else self._convert(token_id, token)
        return known

    def _convert(self, token_id: int, token: str) -> bytes:
        if self.byte_level:
            if token_id in self._added:  # plain text, even if all its characters are in the byte alphabet
                return token.encode()
            try:
                return bytes(self._bytes_of_characters[character] for character in token)
            except KeyError:  # a special token of the vocabulary that no file declares
                return token.encode()
        byte_piece = _BYTE_PIECE.fullmatch(token)
        return bytes.fromhex(byte_piece[1]) if byte_piece else token.replace(SPACE, " ").encode()


def _decoder_steps(engine: tokenizers.Tokenizer) -> list[dict[str, Any]]:
    if engine.decoder is None:
        return []
    decoder = json.loads(engine.decoder.__getstate__())
    return list(decoder["decoders"]) if decoder["type"] == "Sequence" else [decoder]
