"""The GGUF container (ggml-org/ggml, docs/gguf.md): read and write."""

from bitnet_tt.formats.gguf.reader import BLOCKS, GGUF, I2_S_TAIL_BYTES, read, read_metadata
from bitnet_tt.formats.gguf.writer import GGUFTensor, write_gguf

__all__ = ["BLOCKS", "GGUF", "I2_S_TAIL_BYTES", "GGUFTensor", "read", "read_metadata", "write_gguf"]
