"""Text to token ids and back: one engine, `tokenizers`, whatever file the vocabulary came from."""

from bitnet_tt.tokenizer.streaming import StreamDecoder
from bitnet_tt.tokenizer.tokenizer import Tokenizer

__all__ = ["StreamDecoder", "Tokenizer"]
