"""Decode steps: the cards turn the inputs of each step into those of the next one, and the host copies the rest."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.base import Candidates, LogitFilter, StepResult
from bitnet_tt.backends.tt.model.lm_head import HeadResult, read_heads
from bitnet_tt.backends.tt.model.stages import Stage, Stages
from bitnet_tt.backends.tt.model.turns import Part, run
from bitnet_tt.backends.tt.ops.advance.op import advance, empty_best
from bitnet_tt.backends.tt.ops.common.link import Link
from bitnet_tt.backends.tt.ops.handoff.op import receive, send
from bitnet_tt.backends.tt.ops.place_inputs.op import place_inputs
from bitnet_tt.backends.tt.planning.memory import TOKEN_PAGE_BYTES, landing_pages
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

    Each card has inputs of its own, and moves them on itself. In a chain, the tokens that the last card found go back
    from card to card to the first one. Cards that share every matrix all find them. So several cards need the host no
    more often than a single card does.

    Several objects of this class can have steps under way at once, on other cards of a chain.
    """

    def __init__(self, stages: Stages, plan: Plan, number: int) -> None:
        """Put the inputs of steps on the cards.

        Args:
            stages: The model.
            plan: The shapes.
            number: Tells this object from others with the same stages.
        """
        self._stages, self._number = stages, number
        self._state = DecodeState(plan)
        cards = [stage.card for stage in stages.all]
        self._last = cards[-1]
        finders = sum(stage.share.is_last for stage in stages.all)  # cards that find tokens
        self._inputs = [Inputs.for_decode(card, plan) for card in cards]
        self._packed = [card.rows(self._state.packed(), ttnn.uint32) for card in cards]
        self._best = [empty_best(card.device) for card in cards[-finders:]]
        pages = landing_pages(plan.grid, 1, TOKEN_PAGE_BYTES)
        # Takes the whole rows that the host may need later, if other steps may be started before.
        head = stages.all[-1].lm_head
        self._logits = head.empty_logits() if head is not None and stages.all[-1].share.steps > 1 else None
        self._way_back = [Link.between(one, before, pages) for one, before in itertools.pairwise(cards[-finders::-1])]
        self._tokens_wait = False  # to be passed back
        self._steps = 0
        # The last reads: the device writes to their memory, whether or not anybody waits for them.
        self._reads: deque[Callable[[], object]] = deque(maxlen=2)

    def __call__(self, group: Group, filters: Sequence[LogitFilter], output: HeadOutput) -> StepResult:
        """Start a step, and return without waiting for it where the device has a queue.

        Args:
            group: The step.
            filters: One for each of the group's `logit_rows`.
            output: What the lm_head leaves for the host.

        Returns:
            A function that waits for the candidates of the `logit_rows`. Other steps may be started before if the host
            needs only the most probable tokens, or if several steps can be under way. Until the next step of this
            object, the candidates can read the logits that they miss.
        """
        self._pass_tokens()
        self._place(group)
        results = self._launch(group, output)
        self._steps += 1
        self._state.advance(finds_tokens=output.finds_tokens)
        if not output.finds_tokens:
            if self._logits is None:
                return read_heads(results, group.logit_rows, filters)
            candidates = read_heads(results, group.logit_rows, filters, [self._last])
            self._reads.append(candidates)
            return candidates
        read = self._last.read_later(self._best[-1])
        self._reads.append(read)
        return partial(self._read_best, read, group, self._steps)

    def _launch(self, group: Group, output: HeadOutput) -> list[HeadResult]:
        """Launch the step on every card, in the order in which the rows pass through them; return the logits."""
        shape = self._number, group.sequences, group.blocks, output
        self._tokens_wait = output.finds_tokens
        parts = [partial(self._run, stage, inputs, best, group, output) for stage, inputs, best in self._cards()]
        traces = [stage.card.traces for stage in self._stages.all]
        if traces[0].launches(shape):
            launched = self._stages.launch([part() for part in parts])
            results = [one.run(shape, partial(_same, result)) for one, result in zip(traces, launched, strict=True)]
        else:
            results = [one.run(shape, partial(_whole, part)) for one, part in zip(traces, parts, strict=True)]
        return [result for result in results if result is not None]

    def _cards(self) -> Iterator[tuple[Stage, Inputs, ttnn.Tensor | None]]:
        """Yield each card's stage, its inputs, and what takes its best candidates if it finds tokens."""
        without = [None] * (len(self._inputs) - len(self._best))
        yield from zip(self._stages.all, self._inputs, [*without, *self._best], strict=True)

    def _run(
        self, stage: Stage, inputs: Inputs, best: ttnn.Tensor | None, group: Group, output: HeadOutput
    ) -> Part[HeadResult | None]:
        """The part of a step on one card."""
        hidden = yield from stage.decoder(inputs, group.sequences, group.blocks, decode=True)
        if stage.lm_head is None:
            advance(inputs, group.sequences, None, None)
            return None
        result = stage.lm_head(hidden, group.sequences, output, self._logits if output.top_count else None)
        advance(inputs, group.sequences, stage.lm_head.all_top(result) if output.finds_tokens else None, best)
        if output.finds_tokens and self._way_back:
            send(self._way_back[0], inputs.token_ids)
        return result

    def _pass_tokens(self) -> None:
        """Pass the tokens of the last step back to the first card.

        This is done as late as possible: a card that waits for these tokens cannot compute for others.
        """
        if self._tokens_wait:
            self._tokens_wait = False
            for link, onward in itertools.zip_longest(self._way_back, self._way_back[1:]):
                link.target.traces.run(self._number, partial(self._pass_on, link, onward))

    def _pass_on(self, link: Link, onward: Link | None) -> None:
        """Receive the tokens of a step on a card, and send them on."""
        token_ids = self._inputs[link.target.place].token_ids
        receive(link, token_ids)
        if onward is not None:
            send(onward, token_ids)

    def _place(self, group: Group) -> None:
        """Copy what the device does not have yet of the inputs of a step."""
        state = self._state
        stays, has_tokens = state.is_at(group), state.has_tokens(group)
        if not has_tokens:
            state.place_tokens(group)
        if not stays:
            state.place(group)
            for packed, inputs in zip(self._packed, self._inputs, strict=True):
                _copy(state.packed(), packed)
                place_inputs(packed, inputs, token_ids=not group.follows)
        elif not has_tokens:
            for stage, inputs in zip(self._stages.all, self._inputs, strict=True):
                if stage.share.is_first:
                    _copy(group.token_ids, inputs.token_ids)

    def _read_best(self, read: Callable[[], NDArray[np.uint32]], group: Group, step: int) -> list[Candidates]:
        best = read().reshape(DECODE_ROWS, 2)
        if step == self._steps:  # no later step has changed them
            self._state.token_ids = np.where(group.slots == SKIP, 0, best[:, 1])
        return best_candidates(best[group.logit_rows])


def _same[T](result: T) -> T:
    """Return the result of a part that has been launched."""
    return result


def _whole[T](part: Callable[[], Part[T]]) -> T:
    """Launch a part, and return its result."""
    return run(part())


def _copy(array: NDArray[np.uint32], tensor: ttnn.Tensor) -> None:
    """Copy an array into a row-major tensor, which stays in place."""
    host = ttnn.Tensor(array, ttnn.uint32, None, ttnn.ROW_MAJOR_LAYOUT)
    ttnn.copy_host_to_device_tensor(host, tensor)
