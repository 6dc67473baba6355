"""Text to token ids and back. Every file format of a vocabulary becomes one engine of the `tokenizers` library."""

from bitnet_tt.tokenizer.streaming import StreamDecoder
from bitnet_tt.tokenizer.tokenizer import Tokenizer

__all__ = ["StreamDecoder", "Tokenizer"]
