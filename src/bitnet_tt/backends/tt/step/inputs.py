"""The inputs of a step on the device: small tensors of token ids, positions, slots and block tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.tt.step.groups import Group


@dataclass(frozen=True, slots=True)
class Inputs:
    """The arrays of a `Group` as row-major uint32 tensors in DRAM.

    Attributes:
        token_ids: [1, rows].
        positions: [1, rows].
        slots: [1, rows].
        table: [sequences, blocks], or larger; a step does not read the entries beyond these.
    """

    token_ids: ttnn.Tensor
    positions: ttnn.Tensor
    slots: ttnn.Tensor
    table: ttnn.Tensor

    @classmethod
    def upload(cls, group: Group, card: Card) -> Inputs:
        """Put the arrays of a group into new tensors."""
        arrays = (group.token_ids, group.positions, group.slots, group.table)
        return cls(*(card.rows(array, ttnn.uint32) for array in arrays))

    @classmethod
    def for_decode(cls, card: Card, plan: Plan) -> Inputs:
        """Make tensors that are large enough for every decode step. They stay in place: traces hold their addresses."""
        shapes = [(1, DECODE_ROWS)] * 3 + [plan.decode_table]
        return cls(*(card.rows(np.zeros(shape, np.uint32), ttnn.uint32) for shape in shapes))
