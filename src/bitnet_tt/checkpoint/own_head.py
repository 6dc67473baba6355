"""Find an lm_head that differs from the embedding although config.json says that the two are tied."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.floats import to_bfloat16
from bitnet_tt.checkpoint.names import EMBEDDING, LM_HEAD
from bitnet_tt.config import ModelConfig
from bitnet_tt.formats.tensor import StoredTensor

_CHUNK_ELEMENTS = 1 << 18

OWN_HEAD_NOTE = (
    "config.json says tie_word_embeddings, but the stored lm_head.weight differs from the embedding and is used, as "
    "in transformers 5"
)


def has_own_head(config: ModelConfig, tensors: Mapping[str, StoredTensor]) -> bool:
    """Return whether a checkpoint stores an lm_head that is not a copy of its embedding.

    Both tensors are read up to the first difference, and only if both are stored.

    Args:
        config: The model's configuration.
        tensors: Every tensor, by canonical name.

    Raises:
        CheckpointError: One of the two is not of a float type; the message names it.
    """
    embedding, head = tensors.get(EMBEDDING), tensors.get(LM_HEAD)
    if embedding is None or head is None or embedding.shape != (config.vocab_size, config.hidden_size):
        return False
    if head.shape != embedding.shape:
        return True
    step = max(1, _CHUNK_ELEMENTS // config.hidden_size)
    starts = range(0, config.vocab_size, step)
    same = all(np.array_equal(_bits(embedding, start, step), _bits(head, start, step)) for start in starts)
    embedding.release()
    head.release()
    return not same


def _bits(tensor: StoredTensor, start: int, rows: int) -> NDArray[np.uint16]:
    return to_bfloat16(tensor.rows(start, start + rows))[0]
