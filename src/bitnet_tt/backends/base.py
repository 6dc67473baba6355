"""The interface between engine and device: a backend takes a batch of tokens and returns logits, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FORKED = "this process was forked after the model was loaded; load the model in the child process"
"""The message of the DeviceError in a forked process."""


NEXT = -1
"""In place of a token id: the most probable token of the same row of the step before, which may still run."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The new tokens of several sequences: the work of one step. Every array is int32 and C-contiguous.

    Sequence i owns `token_ids[starts[i]:starts[i + 1]]`, at positions `positions[i], positions[i] + 1, ...`. The cache
    holds the keys and values of all earlier positions. Position p of sequence i lives in cache block
    `block_tables[i, p // block_size]`, slot `p % block_size`.

    Attributes:
        token_ids: [tokens]. Only `Backend.start` takes `NEXT`.
        starts: [sequences + 1], strictly rising from 0 to tokens.
        positions: [sequences], the position of each sequence's first new token.
        block_tables: [sequences, blocks], padded with -1.
        logit_rows: [rows], strictly rising: indices into `token_ids` of the tokens whose logits are computed.
    """

    token_ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    positions: NDArray[np.int32]
    block_tables: NDArray[np.int32]
    logit_rows: NDArray[np.int32]


type LateMask = Callable[[], NDArray[np.uint32] | None]
"""Returns a mask as in `backends.masks`, uint32 [words], or None for all tokens.

Another thread may still compute the mask; the call then waits. So a backend first runs the layers.
"""


@dataclass(frozen=True, slots=True)
class Noise:
    """The random noise of a row: sampling picks the token with the largest sum of logit and noise.

    docs/numerics.md defines the noise. It depends on these numbers and the token, so a backend can bound it.

    Attributes:
        seed: From 0 to 2**64 - 1.
        position: The position of the token that is picked, from 0 to 2**32 - 1.
        choice: Which of several texts of the same prompt and seed this is, from 0 to 2**32 - 1.
        temperature: The factor of the noise, above 0.
    """

    seed: int
    position: int
    choice: int
    temperature: float


@dataclass(frozen=True, slots=True)
class LogitFilter:
    """Says which logits of a row the sampler can use: those of allowed tokens that pass.

    Attributes:
        count: Pass only the `count` largest logits, at least 1; of equal logits the lowest token ids. None passes all.
        noise: The noise of the row. With noise, a backend need not find all logits that pass: see `Candidates.missing`.
            None if the sampler needs all that pass.
        allowed: Returns the tokens that the sampler can use. None, in place of a function, allows all.
        always: Tokens that pass whatever their logits, if they are allowed; rising, int64 [n]. The count is then of the
            other allowed tokens. None is none.
    """

    count: int | None = None
    noise: Noise | None = None
    allowed: LateMask | None = None
    always: NDArray[np.int64] | None = None

    @property
    def passes_best(self) -> bool:
        """Whether only the largest logit passes, of equal ones that of the lowest token id."""
        return self.count == 1 and self.noise is None and not self.names_tokens

    @property
    def names_tokens(self) -> bool:
        """Whether it treats some tokens otherwise than others."""
        return self.allowed is not None or self.always is not None

    @property
    def passes_all(self) -> bool:
        """Whether the filter drops nothing, and the backend may drop nothing."""
        return self.count is None and self.noise is None and self.allowed is None


class MissingLogits(Protocol):
    """The logits of a row that a backend did not compute, because they can hardly change the pick."""

    @property
    def has_winner(self) -> bool:
        """Whether no missing logit of an allowed token, together with its noise, is the largest such sum."""

    def upper_bounds(self) -> NDArray[np.float32]:
        """Return a number for each token, float32 [vocab]. No missing logit is larger than that of its token."""

    def compute(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Compute logits of the row, float32 [n], with the bits of the whole row. Call it before the next step."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The logits of a row that pass its filter, and maybe more, also of tokens that the filter does not allow.

    Each has the same bits as in the whole row. If the filter has noise, they may be fewer: the largest logit of the
    allowed tokens is here, and those of the filter's `always`.

    Attributes:
        logits: float32 [n]; valid until the backend's next call.
        token_ids: int64 [n], rising: the tokens of `logits`. None if `logits` is the whole row.
        missing: The other logits. None if all that pass the filter are here.
    """

    logits: NDArray[np.float32]
    token_ids: NDArray[np.int64] | None = None
    missing: MissingLogits | None = None


type StepResult = Callable[[], list[Candidates]]
"""Waits for a step that was started, and returns its candidates."""


@dataclass(frozen=True, slots=True)
class BackendStats:
    """The memory of a backend, and figures of its last step. A field is None if the backend cannot tell.

    Attributes:
        weight_bytes: Bytes of the weights in the form in which they are multiplied, embedding and lm_head included.
        file_bytes: The part of `weight_bytes` that stays in its file; single rows are read from there.
        screen_bytes: The 6-bit copy of the lm_head that rules out logits; 0 until a step uses it.
        kv_cache_bytes: The KV cache once it is full.
        head_bytes_read: Bytes of weights that the lm_head of the last step read.
        logits_computed: How many logits the last step computed from the lm_head's own weights, over all its rows.
    """

    weight_bytes: int | None = None
    file_bytes: int | None = None
    screen_bytes: int | None = None
    kv_cache_bytes: int | None = None
    head_bytes_read: int | None = None
    logits_computed: int | None = None


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """The time that one kind of phase took since `start_profile`, such as the `attend` of every layer.

    Attributes:
        name: The kind.
        calls: How many phases of it ran.
        seconds: Their time, each from its start to the start of the next phase.
        waiting: The part of `seconds` that a thread waited for others; the mean over the threads.
        bytes_read: Bytes of weights, keys and values that the phases had to read from memory.
    """

    name: str
    calls: int
    seconds: float
    waiting: float
    bytes_read: int


class Backend(Protocol):
    """A device with a model's weights on it. The constructor loads the weights.

    The logits of a row depend only on the tokens of its sequence. They do not depend on the rest of the batch, or on
    how the prompt was split into steps.

    Not thread-safe: only one thread at a time may call it. The thread that loads the model makes it and allocates the
    cache; the engine's own thread runs all steps and closes it.
    """

    @property
    def description(self) -> str:
        """Return the device in a few words for people, such as `cpu (avx512_vnni, 8 threads)`."""

    def allocate(self, num_blocks: int, block_size: int) -> None:
        """Allocate a KV cache of `num_blocks` blocks of `block_size` positions. An earlier cache is freed.

        Raises:
            DeviceError: There is not enough memory; the message says how much there is and what to change.
        """

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        """Write the batch's keys and values to the cache; return logits [rows, vocab], valid until the next call."""

    def candidates(self, batch: Batch, filters: Sequence[LogitFilter]) -> list[Candidates]:
        """Run a step as `forward` does, but return only the logits of each row that pass its filter.

        A backend that finds them without the whole row saves most of the time of the lm_head.

        Args:
            batch: The step.
            filters: One for each of `batch.logit_rows`.
        """

    def hidden(self, batch: Batch) -> NDArray[np.float32]:
        """Run a step as `forward` does; return the normed hidden states of its rows, float32 [rows, hidden].

        Raises:
            DeviceError: This backend has no hidden states to return.
        """

    def start(self, batch: Batch) -> StepResult | None:
        """Start a step of one token for each sequence, and return without waiting for it.

        Every token has a logit row, whose filter is `LogitFilter(count=1)`. The next step may be started before this
        one is read, once: with the same sequences in the same order, and `NEXT` in place of all tokens. Results are
        read once each, in the order of their steps, and before any other call that runs a step. If a step fails, the
        results of later ones are lost.

        Returns:
            The result. None if the backend cannot run this step ahead; then it has done nothing.
        """

    def warm_up(self, max_sequences: int, progress: Callable[[int, int], None]) -> None:
        """Prepare for steps of every shape, so that no request waits for that. The KV cache stays as it is.

        Args:
            max_sequences: Maximum number of sequences of a step.
            progress: Called with the number of finished shapes and of all shapes.
        """

    def stats(self) -> BackendStats:
        """Return memory use, and figures of the last step."""

    def start_profile(self) -> None:
        """Measure from now on where the time of each step goes. A backend without a profile does nothing."""

    def stop_profile(self) -> list[PhaseTime]:
        """Stop measuring; return the phases in the order of a step. Empty if the backend has no profile."""

    def close(self) -> None:
        """Free the device and its memory. Every later call raises DeviceError, except `close`."""
