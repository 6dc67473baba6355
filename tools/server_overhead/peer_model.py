"""Write the demo model as a GGUF file for llama-server: `python -m tools.server_overhead.peer_model FILE`.

The linears are Q4_0, which holds ternary weights exactly; TQ2_0 cannot store them, because their rows are not multiples
of 256. The text differs: llama.cpp's `bitnet` architecture computes SiLU where the demo computes squared ReLU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.gguf_config import end_token_metadata, model_metadata
from bitnet_tt.checkpoint.gguf_names import gguf_name
from bitnet_tt.checkpoint.hub import resolve
from bitnet_tt.checkpoint.names import named_weights
from bitnet_tt.formats.gguf import GGUFTensor, write_gguf
from bitnet_tt.formats.staging import staged
from bitnet_tt.reference import unpack_ternary
from bitnet_tt.tokenizer import Tokenizer
from bitnet_tt.tokenizer.gguf_saving import to_metadata
from bitnet_tt.weights import TernaryMatrix, as_array, bfloat16_to_float32

_BLOCK = 32
_FILE_TYPE_Q4_0 = 2
_ZERO = 8
_HEADER_BYTES = 1 << 20


def save_q4_0(source: Path, target: Path) -> None:
    """Write a checkpoint with Q4_0 linears, F32 norms, F16 embeddings and its tokenizer.

    Raises:
        CheckpointError: The checkpoint is damaged, or the file cannot be written.
    """
    checkpoint = Checkpoint.open(source)
    config = checkpoint.config
    metadata = model_metadata(config, "bitnet", target.stem, _FILE_TYPE_Q4_0)
    metadata |= to_metadata(Tokenizer.from_path(source), config.vocab_size)
    metadata |= end_token_metadata(config)
    tensors = []
    for name, value in named_weights(config, checkpoint.load_weights()):
        if isinstance(value, TernaryMatrix):
            shape = (value.out_features, value.in_features)
            tensors.append(GGUFTensor(gguf_name(name), "Q4_0", shape, partial(_q4_0_parts, value)))
        elif (array := as_array(value)).dtype == np.float32:
            tensors.append(GGUFTensor.of_rows(gguf_name(name), "F32", array))
        else:
            tensors.append(GGUFTensor.of_rows(gguf_name(name), "F16", array, _float16))
    with staged(target, sum(tensor.size for tensor in tensors) + _HEADER_BYTES, overwrite=True) as path:
        write_gguf(path, metadata, tensors)


def _q4_0_parts(matrix: TernaryMatrix) -> Iterator[NDArray[Any]]:
    """Yield blocks of 32 values: the scale as float16, then 16 bytes.

    Byte i has value i as its low half and value i + 16 as its high half.
    """
    codes = (unpack_ternary(matrix.packed).reshape(-1, _BLOCK) + _ZERO).astype(np.uint8)
    scales = np.full((len(codes), 1), matrix.scale, np.float16).view(np.uint8)
    yield np.concatenate([scales, codes[:, :16] | codes[:, 16:] << 4], axis=1)


def _float16(bits: NDArray[np.uint16]) -> NDArray[np.float16]:
    return bfloat16_to_float32(bits).astype(np.float16)


if __name__ == "__main__":
    save_q4_0(resolve("demo"), Path(sys.argv[1]))
