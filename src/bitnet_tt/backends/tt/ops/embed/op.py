"""The embeddings of a decode step's tokens, in the form that `bit_linear` takes."""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, FLOAT32_BYTES, STRIP


def embed(token_ids: ttnn.Tensor, embedding: ttnn.Tensor, rows: int, lines: int) -> Strips:
    """Look up embeddings.

    Args:
        token_ids: uint32 [1, rows or more], row-major.
        embedding: bfloat16 [vocab, hidden], row-major.
        rows: Number of tokens.
        lines: Rows that share a page of the result.

    Returns:
        float32 [rows, hidden], in L1.
    """
    features = embedding.shape[-1]
    result = Strips.empty(embedding.device(), rows, features, ttnn.L1_MEMORY_CONFIG, lines)
    launch(
        reader=Kernel(
            "embed/embed.cpp",
            tensors={"token_ids": token_ids, "embedding": embedding, "result": result.tensor},
            constants={"features": features, "lines": lines},
            arguments={"rows": rows},
        ),
        buffers={"narrow": Buffer(STRIP * BFLOAT16_BYTES), "wide": Buffer(STRIP * FLOAT32_BYTES)},
    )
    return result
