"""What the host tells a step: small tensors of ids and places, which for decode steps stay where they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.tt.step.groups import Group


@dataclass(frozen=True, slots=True)
class Inputs:
    """Row-major uint32 tensors in DRAM; for their contents see `Group`.

    Attributes:
        token_ids: [1, rows].
        positions: [1, rows].
        slots: [1, rows].
        table: [sequences, blocks], or larger, then the rest is not looked at.
    """

    token_ids: ttnn.Tensor
    positions: ttnn.Tensor
    slots: ttnn.Tensor
    table: ttnn.Tensor

    @classmethod
    def of(cls, group: Group, card: Card) -> Inputs:
        """A group's own."""
        arrays = (group.token_ids, group.positions, group.slots, group.table)
        return cls(*(card.rows(array, ttnn.uint32) for array in arrays))

    @classmethod
    def for_decode(cls, card: Card, plan: Plan) -> Inputs:
        """Room for any decode step."""
        shapes = [(1, DECODE_ROWS)] * 3 + [plan.decode_table]
        return cls(*(card.rows(np.zeros(shape, np.uint32), ttnn.uint32) for shape in shapes))

    def update(self, group: Group) -> None:
        """Put a decode step's in place: a trace has these tensors' addresses."""
        table = np.zeros(tuple(self.table.shape), np.uint32)
        table[: group.sequences, : group.blocks] = group.table
        for array, tensor in (
            (group.token_ids, self.token_ids),
            (group.positions, self.positions),
            (group.slots, self.slots),
            (table, self.table),
        ):
            host = ttnn.Tensor(array, ttnn.uint32, None, ttnn.ROW_MAJOR_LAYOUT)
            ttnn.copy_host_to_device_tensor(host, tensor)
