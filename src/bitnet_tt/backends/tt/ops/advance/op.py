"""Turn the inputs of a decode step into those of the next one: the last program of the step.

So a trace of the step can be replayed again and again, and the host copies nothing as long as the batch stays the same
and each token is the most probable one.
"""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.ops.common.program import Buffer, Kernel, launch
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS
from bitnet_tt.backends.tt.step.groups import SKIP
from bitnet_tt.backends.tt.step.inputs import Inputs

LINE = 16
"""Rows of a work item: their elements fill 64 bytes, the unit in which DRAM is read and written."""

_CANDIDATE_BYTES = 8  # the bits of a logit, and its token id


def empty_best(device: ttnn.MeshDevice) -> ttnn.Tensor:
    """Make the tensor for the best candidates of a step, see `advance`."""
    return ttnn.zeros([1, 2 * DECODE_ROWS], dtype=ttnn.uint32, layout=ttnn.ROW_MAJOR_LAYOUT, device=device)


def advance(inputs: Inputs, rows: int, top: ttnn.Tensor | None, best: ttnn.Tensor | None) -> None:
    """Move every sequence on by one position, and put its next token in place if the step found it.

    A sequence moves to the slot that its block table names for its next position. If that lies beyond the table, the
    slot becomes `SKIP`. A row whose slot is `SKIP` is padding, and stays as it is.

    Args:
        inputs: The inputs of the step, which become those of the next one.
        rows: Sequences of the step.
        top: The largest logit of each row in each part of the vocabulary, uint32 [parts, rows * 2], see `top_logits`.
            The next token of a row is that of the largest of them, of equal ones the lowest id. None leaves the token
            ids as they are.
        best: uint32 [1, 64], row-major: takes the pair (bits of the logit, token id) of each row. None without `top`.
    """
    launch(
        reader=Kernel(
            "advance/advance.cpp",
            tensors={
                "token_ids": inputs.token_ids,
                "positions": inputs.positions,
                "slots": inputs.slots,
                "table": inputs.table,
                "top": top,
                "best": best,
            },
            constants={"skip": SKIP, "line": LINE},
            arguments={
                "rows": rows,
                "table_columns": inputs.table.shape[1],
                "parts": 0 if top is None else top.shape[0],
            },
        ),
        buffers={
            "token_ids": Buffer(LINE * 4),
            "positions": Buffer(LINE * 4),
            "slots": Buffer(LINE * 4),
            "blocks": Buffer(LINE * 64),
            "best": Buffer(LINE * _CANDIDATE_BYTES),
            "top": None if top is None else Buffer(top.shape[0] * LINE * _CANDIDATE_BYTES),
        },
    )
