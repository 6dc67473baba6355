"""Compare what the device makes of the inputs of a decode step with what the host expects, on a simulator or a card."""

from __future__ import annotations

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.mesh import open_cards
from bitnet_tt.backends.tt.ops.advance.op import advance, empty_best
from bitnet_tt.backends.tt.ops.place_inputs.op import place_inputs
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.tt.step.decode_state import DecodeState
from bitnet_tt.backends.tt.step.groups import SKIP
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.config import ModelConfig

CONTEXT = 2048


def check_steps(config: ModelConfig) -> None:
    """Place random inputs, with tokens and without. Advance them, also with tokens from logits that are often equal."""
    card = open_cards()[0]
    try:
        plan, random = Plan(config, card.grid, "fast", CONTEXT), np.random.default_rng(0)
        inputs, best = Inputs.for_decode(card, plan), empty_best(card.device)
        for rows, sequences in ((1, 1), (8, 5), (16, 13), (32, 32)):
            state = _random_state(plan, sequences, random)
            place_inputs(card.rows(state.packed(), ttnn.uint32), inputs, token_ids=True)
            token_ids = state.token_ids
            assert token_ids is not None
            _check(inputs, token_ids, state)

            state.token_ids, state.table = None, state.table + np.uint32(1)
            place_inputs(card.rows(state.packed(), ttnn.uint32), inputs, token_ids=False)
            _check(inputs, token_ids, state)

            state.advance(finds_tokens=False)
            advance(inputs, rows, None, best)
            _check(inputs, token_ids, state)

            logits = random.integers(-3, 4, (16, rows)).astype(np.float32) * random.choice([-1.0, 1.0], (16, rows))
            ids = np.sort(random.integers(0, 1 << 17, (16, rows)), axis=0).astype(np.uint32)
            pairs = np.stack([logits.astype(np.float32).view(np.uint32), ids], axis=-1)
            expected = pairs[logits.argmax(axis=0), np.arange(rows)]
            real = (state.slots != SKIP)[0]
            state.advance(finds_tokens=True)
            advance(inputs, rows, card.rows(pairs.reshape(16, -1), ttnn.uint32), best)
            token_ids[0, :rows] = np.where(real[:rows], expected[:, 1], token_ids[0, :rows])
            _check(inputs, token_ids, state)
            found = best.cpu().to_numpy().reshape(DECODE_ROWS, 2)
            np.testing.assert_array_equal(found[:rows][real[:rows]], expected[real[:rows]])
    finally:
        card.close()


def _random_state(plan: Plan, sequences: int, random: np.random.Generator) -> DecodeState:
    """Return the inputs of some sequences: one moves to its next block, the last one to the end of the context."""
    state = DecodeState(plan)
    state.token_ids = random.integers(0, 500, (1, DECODE_ROWS)).astype(np.uint32)
    state.positions[0, :sequences] = random.integers(0, CONTEXT, sequences)
    state.positions[0, [0, sequences - 1]] = 31, CONTEXT - 1
    state.slots[0, :sequences] = random.integers(0, 5000, sequences)
    state.table[:] = random.integers(0, 1 << 20, plan.decode_table)
    return state


def _check(inputs: Inputs, token_ids: NDArray[np.uint32], state: DecodeState) -> None:
    expected = (token_ids, state.positions, state.slots, state.table)
    for tensor, array in zip((inputs.token_ids, inputs.positions, inputs.slots, inputs.table), expected, strict=True):
        np.testing.assert_array_equal(tensor.cpu().to_numpy(), array)
