"""TTBackend: checks a batch, splits it into steps of fixed shapes, runs them on the card and collects the logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import NEXT, BackendStats, Batch, Candidates, LogitFilter, PhaseTime, StepResult
from bitnet_tt.backends.options import Precision, TernaryTiles
from bitnet_tt.backends.tt.device.mesh import check_queues, open_cards
from bitnet_tt.backends.tt.device.patience import no_answer
from bitnet_tt.backends.tt.environment import time_limit
from bitnet_tt.backends.tt.model.decode import Decode
from bitnet_tt.backends.tt.model.lm_head import read_heads
from bitnet_tt.backends.tt.model.stages import Stages
from bitnet_tt.backends.tt.planning.chain_cost import rows_together
from bitnet_tt.backends.tt.planning.grid import TILE
from bitnet_tt.backends.tt.planning.launches import trace_region_bytes
from bitnet_tt.backends.tt.planning.memory import check_dram, kv_cache_bytes, weight_bytes
from bitnet_tt.backends.tt.planning.pipeline import check_cards, share_layers
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, HeadOutput, Plan
from bitnet_tt.backends.tt.planning.shares import share_matrices
from bitnet_tt.backends.tt.step.groups import Group, check, split
from bitnet_tt.backends.tt.step.warm_up import warm_up_steps
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError
from bitnet_tt.weights import ModelWeights


@dataclass(frozen=True, slots=True)
class _Model:
    """A model on the cards.

    Attributes:
        stages: Its tensors, card by card.
        decodes: Run the decode steps. So many steps can be under way at once: one for each card of a chain.
    """

    stages: Stages
    decodes: tuple[Decode, ...]


class TTBackend:
    """The numerics contract on Tenstorrent cards, through TT-NN.

    The logits of a row do not depend on the rest of the batch, on how its prompt was split, on the number of cards, or
    on how they share the model.

    One process can use a card at a time, from the constructor to `close`. The backend has no lock: one thread makes
    all calls, or the caller makes sure that calls do not overlap.

    Attributes:
        plan: The shapes of the model on a card.
        cards: The cards; in a chain, in the order in which rows pass through them.
        shares: The share of each card.
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: ModelWeights,
        *,
        context_length: int,
        precision: Precision = "fast",
        ternary_tiles: TernaryTiles = "codes",
        cards: int = 1,
        tensor_parallel: bool = False,
    ) -> None:
        """Open the cards and put the model on them.

        Args:
            config: The model's shape.
            weights: The model's weights.
            context_length: Maximum positions of one sequence.
            precision: `exact` has an lm_head in bfloat16, `fast` one of 8 bits.
            ternary_tiles: The form of ternary weights on the card, see `BackendOptions`.
            cards: How many cards share the model.
            tensor_parallel: Whether two cards share every matrix, instead of the layers.

        Raises:
            DeviceError: There are too few cards, they are not connected, or the model does not fit on them.
        """
        check_cards(config, cards, tensor_parallel=tensor_parallel)
        self.cards = open_cards(cards, trace_region_bytes(config, tensor_parallel=tensor_parallel))
        try:
            if tensor_parallel:
                check_queues(self.cards)
            self.plan = Plan(config, self.cards[0].grid, precision, context_length, ternary_tiles)
            self.shares = share_matrices(config, cards) if tensor_parallel else share_layers(self.plan, cards)
            check_dram(self.plan, self.plan.context_blocks(context_length), self.shares)
            load = Stages.tensor_parallel if tensor_parallel else Stages.chain
            stages = load(weights, self.cards, self.plan, self.shares)
            decodes = tuple(Decode(stages, self.plan, number) for number in range(self.shares[0].steps))
            self._model: _Model | None = _Model(stages, decodes)
        except BaseException:
            self.cards[0].close()
            raise
        self._num_blocks = 0

    @property
    def description(self) -> str:
        """The device in a few words for people, such as `tt (2 x blackhole, 110 cores, fast)`."""
        self._open_model()
        description = self.cards[0].description
        if len(self.cards) > 1:
            description = description.replace("(", f"({len(self.cards)} x ", 1)
        return f"{description[:-1]}, {self.plan.precision})"

    def allocate(self, num_blocks: int, block_size: int) -> None:
        """Allocate a KV cache, see `Backend.allocate`. The block size must be 32, the height of a tile."""
        model = self._open_model()
        if block_size != TILE:
            raise DeviceError(f"block_size is {block_size}; the Tenstorrent backend needs {TILE}, the height of a tile")
        if num_blocks < 1:
            raise ValueError(f"num_blocks ({num_blocks}) must be at least 1")
        check_dram(self.plan, num_blocks, self.shares)
        model.stages.allocate(num_blocks)
        self._num_blocks = num_blocks

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        """Run one step of the engine, which may be several on the device; see `Backend.forward`.

        Raises:
            RequestError: A token id is outside the vocabulary, or a sequence is longer than the context.
            ValueError: Anything else in the batch is inconsistent.
            DeviceError: The backend is closed.
        """
        rows = self.candidates(batch, [LogitFilter()] * len(batch.logit_rows))
        return np.array([row.logits for row in rows], np.float32).reshape(-1, self.plan.config.vocab_size)

    def candidates(self, batch: Batch, filters: Sequence[LogitFilter]) -> list[Candidates]:
        """Run a step and return the logits that pass the filters; see `Backend.candidates`, and `forward` for errors.

        If the filters pass few logits, the device finds them, and only those are copied to the host.
        """
        model = self._open_model()
        check(batch, self.plan, self._num_blocks)
        candidates: dict[int, Candidates] = {}
        groups = list(split(batch, self.plan, self._decode_rows(batch)))
        # In a chain, and if the host needs only the most probable tokens, steps are read in the order of the queues.
        ahead = len(model.decodes) > 1 or self.plan.head_output(filters, rows_stay=True).finds_tokens
        # A second decode step of the same object overwrites the logits of the first.
        rows_stay = sum(group.decode for group in groups) <= len(model.decodes)
        steps: list[tuple[Group, StepResult]] = []
        with self._answers():
            for index, group in enumerate(groups):
                group_filters = [filters[row] for row in group.result_rows]
                output = self.plan.head_output(group_filters, rows_stay=rows_stay)
                if group.decode:
                    step = model.decodes[index % len(model.decodes)](group, group_filters, output)
                    steps.append((group, step if ahead else _known(step())))
                else:
                    steps.append((group, _known(self._prefill(model, group, group_filters, output))))
            for group, step in steps:
                candidates.update(zip(group.result_rows.tolist(), step(), strict=True))
        return [candidates[row] for row in range(len(batch.logit_rows))]

    def hidden(self, batch: Batch) -> NDArray[np.float32]:
        """Refuse: hidden states stay on the card.

        Raises:
            DeviceError: Always.
        """
        self._open_model()
        raise DeviceError("the Tenstorrent backend has no embeddings of texts; use device='cpu'")

    def start(self, batch: Batch) -> StepResult | None:
        """Start a step of one token for each sequence, see `Backend.start`, and `forward` for errors."""
        model = self._open_model()
        filters = [LogitFilter(count=1)] * len(batch.logit_rows)
        output = self.plan.head_output(filters, rows_stay=True)
        if len(batch.positions) > DECODE_ROWS or not output.finds_tokens:
            return None
        check(batch, self.plan, self._num_blocks, follows=bool((batch.token_ids == NEXT).all()))
        with self._answers():
            steps = [
                decode(group, [LogitFilter(count=1)] * len(group.logit_rows), output)
                for decode, group in zip(model.decodes, split(batch, self.plan, self._decode_rows(batch)), strict=False)
            ]

        def wait() -> list[Candidates]:
            with self._answers():
                return [found for step in steps for found in step()]

        return wait

    def warm_up(self, max_sequences: int, progress: Callable[[int, int], None]) -> None:
        """Compile the programs of every shape of step, and record the traces of the most common decode steps."""
        model = self._open_model()
        steps = list(warm_up_steps(self.plan, max_sequences))
        for done, step in enumerate(steps):
            progress(done, len(steps))
            filters = [step.limit] * len(step.group.logit_rows)
            output = self.plan.head_output(filters, rows_stay=True)
            if not step.group.decode:
                self._prefill(model, step.group, filters, output)
                continue
            for _ in range(2 if step.is_common and self.cards[0].traces.recorder is not None else 1):
                for decode in model.decodes:
                    decode(step.group, filters, output)()
        progress(len(steps), len(steps))

    def stats(self) -> BackendStats:
        """Return the memory that the plan counts, see `BackendStats`."""
        self._open_model()
        return BackendStats(
            weight_bytes=sum(weight_bytes(self.plan, share) for share in self.shares),
            kv_cache_bytes=sum(kv_cache_bytes(self.plan, self._num_blocks, share) for share in self.shares),
        )

    def start_profile(self) -> None:
        """Do nothing: this backend has no profile."""
        self._open_model()

    def stop_profile(self) -> list[PhaseTime]:
        """Return no phases: this backend has no profile."""
        self._open_model()
        return []

    def close(self) -> None:
        """Free the cards' memory and close the cards. Every later call raises DeviceError, except `close`."""
        self._model = None
        self.cards[0].close()

    def _prefill(
        self, model: _Model, group: Group, filters: Sequence[LogitFilter], output: HeadOutput
    ) -> list[Candidates]:
        candidates: list[Candidates] = []
        for results, rows in model.stages.prefill(group, output):
            candidates += read_heads(results, np.arange(len(filters[rows])), filters[rows])()
        return candidates

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turn ttnn's error for a card that does not answer into ours.

        If a step of a chain stops half-way, rows may wait between cards for a step that never comes. So a chain takes
        no further steps after an error.
        """
        try:
            yield
        except ValueError:  # of the host's, before anything was launched
            raise
        except BaseException as error:
            if len(self.cards) > 1:
                self._model = None
            if isinstance(error, RuntimeError) and "TIMEOUT" in str(error):
                raise no_answer(time_limit()) from None
            raise

    def _decode_rows(self, batch: Batch) -> int:
        """Return the sequences of a decode step, if several can be under way."""
        return rows_together(self.plan, self.shares[0].steps, len(batch.starts) - 1)

    def _open_model(self) -> _Model:
        """Return the model on the card.

        Raises:
            DeviceError: The backend is closed.
        """
        if self._model is None:
            raise DeviceError("this Tenstorrent backend is closed, or a step failed; load the model again")
        return self._model


def _known(candidates: list[Candidates]) -> StepResult:
    """Return the result of a step that has ended."""
    return lambda: candidates
