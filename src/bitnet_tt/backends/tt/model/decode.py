"""Decode steps: the device turns the inputs of each step into those of the next one, and the host copies the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter, StepResult
from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.model.decoder import Decoder
from bitnet_tt.backends.tt.model.lm_head import HeadResult, LMHead
from bitnet_tt.backends.tt.ops.advance.op import advance, empty_best
from bitnet_tt.backends.tt.ops.place_inputs.op import place_inputs
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, HeadOutput, Plan
from bitnet_tt.backends.tt.step.candidates import best_candidates
from bitnet_tt.backends.tt.step.decode_state import DecodeState
from bitnet_tt.backends.tt.step.groups import SKIP, Group
from bitnet_tt.backends.tt.step.inputs import Inputs


class Decode:
    """Runs decode steps, and replays them where the device has traces.

    Everything that a step reads stays in place. At its end, the device moves each sequence on by one position, and puts
    its most probable token in place if the host needs no more than that. So as long as a batch stays the same, the host
    copies only the tokens that it picked otherwise. It copies everything, packed into one tensor, when a sequence joins
    or leaves or a block is added.
    """

    def __init__(self, decoder: Decoder, lm_head: LMHead, card: Card, plan: Plan) -> None:
        self._decoder, self._lm_head, self._card = decoder, lm_head, card
        self._state = DecodeState(plan)
        self._inputs = Inputs.for_decode(card, plan)
        self._packed = card.rows(self._state.packed(), ttnn.uint32)
        self._best = empty_best(card.device)
        self._steps = 0
        # The last reads: the device writes to their memory, whether or not anybody waits for them.
        self._reads: deque[Callable[[], NDArray[np.uint32]]] = deque(maxlen=2)

    def __call__(self, group: Group, filters: Sequence[LogitFilter], output: HeadOutput) -> StepResult:
        """Start a step, and return without waiting for it where the device has a queue.

        Args:
            group: The step.
            filters: One for each of the group's `logit_rows`.
            output: What the lm_head leaves for the host.

        Returns:
            A function that waits for the candidates of the `logit_rows`. If the host needs only the most probable
            tokens, the next step may be started before; otherwise it is called before.
        """
        self._place(group)

        def step() -> HeadResult:
            hidden = self._decoder(self._inputs, group.sequences, group.blocks, decode=True)
            result = self._lm_head(hidden, group.sequences, output)
            advance(self._inputs, group.sequences, result.top if output.finds_tokens else None, self._best)
            return result

        result = self._card.traces.run((group.sequences, group.blocks, output), step)
        self._steps += 1
        self._state.advance(finds_tokens=output.finds_tokens)
        if not output.finds_tokens:
            return lambda: self._lm_head.read(result, group.logit_rows, filters)
        read = self._card.read_later(self._best)
        self._reads.append(read)
        return partial(self._read_best, read, group, self._steps)

    def _place(self, group: Group) -> None:
        """Copy what the device does not have yet of the inputs of a step."""
        state = self._state
        stays, has_tokens = state.is_at(group), state.has_tokens(group)
        if not has_tokens:
            state.place_tokens(group)
        if not stays:
            state.place(group)
            _copy(state.packed(), self._packed)
            place_inputs(self._packed, self._inputs, token_ids=not group.follows)
        elif not has_tokens:
            _copy(group.token_ids, self._inputs.token_ids)

    def _read_best(self, read: Callable[[], NDArray[np.uint32]], group: Group, step: int) -> list[Candidates]:
        best = read().reshape(DECODE_ROWS, 2)
        if step == self._steps:  # no later step has changed them
            self._state.token_ids = np.where(group.slots == SKIP, 0, best[:, 1])
        return best_candidates(best[group.logit_rows])


def _copy(array: NDArray[np.uint32], tensor: ttnn.Tensor) -> None:
    """Copy an array into a row-major tensor, which stays in place."""
    host = ttnn.Tensor(array, ttnn.uint32, None, ttnn.ROW_MAJOR_LAYOUT)
    ttnn.copy_host_to_device_tensor(host, tensor)
