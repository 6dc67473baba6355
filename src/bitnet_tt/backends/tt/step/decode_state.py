"""What the inputs of decode steps hold on the device, in NumPy: the host computes it, and need not read it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.tt.step.groups import SKIP, Group


class DecodeState:
    """The token ids, positions, slots and block table of the next decode step, as they are on the device.

    Attributes:
        token_ids: uint32 [1, 32]. None while the host does not know them.
        found: Whether the last step found them.
        positions: uint32 [1, 32].
        slots: uint32 [1, 32].
        table: uint32 [32, blocks of a whole context].
    """

    def __init__(self, plan: Plan) -> None:
        """Begin without a sequence."""
        self.token_ids: NDArray[np.uint32] | None = np.zeros((1, DECODE_ROWS), np.uint32)
        self.found = False
        self.positions = np.zeros((1, DECODE_ROWS), np.uint32)
        self.slots = np.full((1, DECODE_ROWS), SKIP, np.uint32)
        self.table = np.zeros(plan.decode_table, np.uint32)
        self._packed = plan.packed_inputs

    def is_at(self, group: Group) -> bool:
        """Return whether positions, slots and the part of the table that the step reads are those of a group."""
        return (
            np.array_equal(self.slots, group.slots)
            and np.array_equal(self.positions, group.positions)
            and np.array_equal(self.table[: group.sequences, : group.blocks], group.table)
        )

    def has_tokens(self, group: Group) -> bool:
        """Return whether the token ids are those of a group.

        Raises:
            ValueError: The group follows, but not on the last step.
        """
        if not group.follows:
            return self.token_ids is not None and np.array_equal(self.token_ids, group.token_ids)
        if not self.found or not np.array_equal(self.positions, group.positions):
            raise ValueError("only the step after a greedy step of the same sequences may have the tokens NEXT")
        return True

    def place_tokens(self, group: Group) -> None:
        """Take over the token ids of a group."""
        self.token_ids, self.found = group.token_ids, False

    def place(self, group: Group) -> None:
        """Take over positions, slots and the block table of a group."""
        self.positions, self.slots = group.positions, group.slots
        self.table[:] = 0
        self.table[: group.sequences, : group.blocks] = group.table

    def packed(self) -> NDArray[np.uint32]:
        """Return everything in one array, uint32 [3 + 32, width]: token ids, positions, slots, and the table's rows."""
        rows, columns = self.table.shape
        packed = np.zeros(self._packed, np.uint32)
        packed[0, :rows] = 0 if self.token_ids is None else self.token_ids
        packed[1, :rows], packed[2, :rows], packed[3:, :columns] = self.positions, self.slots, self.table
        return packed

    def advance(self, *, finds_tokens: bool) -> None:
        """Do what the end of a step does on the device, see `ops/advance`.

        Args:
            finds_tokens: Whether the step finds the next token ids.
        """
        self.found = finds_tokens
        if finds_tokens:
            self.token_ids = None
        real = self.slots != SKIP
        self.positions = self.positions + real.astype(np.uint32)
        blocks = self.positions // TILE
        inside = real & (blocks < self.table.shape[1])
        named = self.table[np.arange(DECODE_ROWS), np.where(inside, blocks, 0)]
        self.slots = np.where(inside, named * np.uint32(TILE) + self.positions % np.uint32(TILE), np.uint32(SKIP))
