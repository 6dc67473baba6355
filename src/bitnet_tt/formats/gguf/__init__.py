"""The GGUF container: read and write its metadata and tensors (ggml-org/ggml, docs/gguf.md)."""

from bitnet_tt.formats.gguf.reader import GGUF, is_gguf_name
from bitnet_tt.formats.gguf.split import missing_parts_error, part_names, read, read_metadata
from bitnet_tt.formats.gguf.types import BLOCKS, I2_S_TAIL_BYTES
from bitnet_tt.formats.gguf.writer import GGUFTensor, write_gguf

__all__ = [
    "BLOCKS",
    "GGUF",
    "I2_S_TAIL_BYTES",
    "GGUFTensor",
    "is_gguf_name",
    "missing_parts_error",
    "part_names",
    "read",
    "read_metadata",
    "write_gguf",
]
