"""TTBackend: checks what comes from outside, cuts it into steps of fixed shapes, and collects the logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.backends.base import BackendStats, Batch, Candidates, LogitFilter, PhaseTime
from bitnet_tt.backends.options import Precision
from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.model.decoder import Decoder
from bitnet_tt.backends.tt.model.lm_head import Head
from bitnet_tt.backends.tt.planning.launches import trace_bytes
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, TILE, Plan, Want
from bitnet_tt.backends.tt.step.groups import Group, check, split
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError
from bitnet_tt.weights import ModelWeights


class TTBackend:
    """The numerics contract on a Tenstorrent card, through TT-NN.

    Logits of a row do not depend on anything else in a batch, nor on how its prompt was cut. One process has the card
    at a time; `close` gives it back.
    """

    def __init__(
        self, config: ModelConfig, weights: ModelWeights, *, context_length: int, precision: Precision = "fast"
    ) -> None:
        """Open the card and put the model on it.

        Args:
            config: The model's shape.
            weights: Its weights.
            context_length: Longest sequence.
            precision: `exact` computes in float32 throughout; `fast` attends in bfloat16 and has an 8-bit lm_head.

        Raises:
            DeviceError: There is no card, or the model does not fit it.
        """
        self.card = Card(trace_bytes(config, precision))
        try:
            self.plan = Plan(config, self.card.grid, precision, context_length)
            self.plan.check_dram(num_blocks=self.plan.context_blocks(context_length))
            self._decoder: Decoder | None = Decoder(weights, self.card, self.plan)
            self._head: Head | None = Head(weights, self.card, self.plan)
            self._inputs: Inputs | None = Inputs.for_decode(self.card, self.plan)
        except BaseException:
            self.card.close()
            raise
        self._num_blocks = 0

    @property
    def description(self) -> str:
        """Such as `tt (blackhole, 110 cores, fast)`."""
        return f"{self.card.description[:-1]}, {self.plan.precision})"

    def allocate(self, num_blocks: int, block_size: int) -> None:
        """Make room for a KV cache; see `Backend.allocate`."""
        if block_size != TILE:
            raise DeviceError(f"block_size is {block_size}; the Tenstorrent backend needs {TILE}, the height of a tile")
        if num_blocks < 1:
            raise ValueError(f"num_blocks ({num_blocks}) must be at least 1")
        self.plan.check_dram(num_blocks)
        decoder, _, _ = self._opened()
        self.card.traces.release()
        decoder.allocate(num_blocks)
        self._num_blocks = num_blocks

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        """One step of the engine, several on the device; see `Backend.forward`.

        Raises:
            RequestError: A token id outside the vocabulary, or a sequence longer than the context.
            ValueError: Anything else in the batch that makes no sense.
            DeviceError: The backend is closed.
        """
        rows = self.candidates(batch, [LogitFilter()] * len(batch.logit_rows))
        return np.array([row.logits for row in rows], np.float32).reshape(-1, self.plan.config.vocab_size)

    def candidates(self, batch: Batch, filters: Sequence[LogitFilter]) -> list[Candidates]:
        """See `Backend.candidates` and `forward`. Where few logits are wanted, the device finds them."""
        self._opened()
        check(batch, self.plan, self._num_blocks)
        found: dict[int, Candidates] = {}
        groups = list(split(batch, self.plan))
        # A second decode step overwrites the logits of the first.
        kept = sum(group.decode for group in groups) < 2
        for group in groups:
            step = self._decode if group.decode else self._prefill
            own = [filters[row] for row in group.targets]
            found.update(zip(group.targets.tolist(), step(group, own, self.plan.want(own, kept=kept)), strict=True))
        return [found[row] for row in range(len(batch.logit_rows))]

    def stats(self) -> BackendStats:
        """Return the memory that the plan counts; see `BackendStats`."""
        return BackendStats(
            weight_bytes=self.plan.weight_bytes(),
            kv_cache_bytes=self.plan.kv_bytes(self._num_blocks),
        )

    def start_profile(self) -> None:
        """Do nothing: this backend has no profile."""

    def stop_profile(self) -> list[PhaseTime]:
        """Return no phases: this backend has no profile."""
        return []

    def close(self) -> None:
        """Free the card's memory and give the card back; the backend cannot be used afterwards."""
        self._decoder = self._head = self._inputs = None
        self.card.close()

    def _decode(self, group: Group, filters: Sequence[LogitFilter], want: Want) -> list[Candidates]:
        decoder, head, inputs = self._opened()
        inputs.update(group)

        def step() -> object:
            hidden = decoder(inputs, group.sequences, group.blocks, decode=True)
            return head(hidden, group.sequences, want)

        answer = self.card.traces.run((group.sequences, group.blocks, want), step)
        return head.read(answer, group.wanted, filters)

    def _prefill(self, group: Group, filters: Sequence[LogitFilter], want: Want) -> list[Candidates]:
        decoder, head, _ = self._opened()
        hidden = decoder(Inputs.of(group, self.card), group.sequences, group.blocks, decode=False)
        found: list[Candidates] = []
        for first in range(0, len(group.wanted), DECODE_ROWS):
            rows = group.wanted[first : first + DECODE_ROWS]
            answer = head(head.pick(hidden, rows), self.plan.decode_bucket(len(rows)), want)
            found += head.read(answer, np.arange(len(rows)), filters[first : first + DECODE_ROWS])
        return found

    def _opened(self) -> tuple[Decoder, Head, Inputs]:
        if self._decoder is None or self._head is None or self._inputs is None:
            raise DeviceError("this Tenstorrent backend is closed; make another one")
        return self._decoder, self._head, self._inputs
