"""Put the inputs of a decode step in place: the host copies one packed tensor, and the device takes it apart."""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.step.inputs import Inputs


def place_inputs(packed: ttnn.Tensor, inputs: Inputs, *, token_ids: bool) -> None:
    """Write the inputs of a decode step.

    Args:
        packed: uint32 [3 + rows, width], row-major, see `DecodeState.packed`.
        inputs: Where they go.
        token_ids: Whether the token ids go there too. Otherwise those stay that are there.
    """
    pages, width = packed.shape
    page_bytes = width * packed.element_size()
    launch(
        reader=Kernel(
            "place_inputs/place_inputs.cpp",
            tensors={
                "packed": packed,
                "token_ids": inputs.token_ids,
                "positions": inputs.positions,
                "slots": inputs.slots,
                "table": inputs.table,
            },
            arguments={
                "first": 0 if token_ids else 1,
                "pages": pages,
                "page_bytes": page_bytes,
                "list_bytes": inputs.positions.shape[1] * inputs.positions.element_size(),
                "table_bytes": inputs.table.shape[1] * inputs.table.element_size(),
            },
        ),
        buffers={"page": Buffer(page_bytes)},
    )
