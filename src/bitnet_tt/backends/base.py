"""What a backend is: weights and cache in, a ragged batch of tokens in, logits out. Nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Batch:
    """New tokens of several sequences, one step's work; every array is int32 and C-contiguous.

    Sequence i owns `token_ids[starts[i]:starts[i + 1]]`, at positions `positions[i], positions[i] + 1, ...`; keys and
    values of all earlier positions are in the cache already. Position p of sequence i lives in cache block
    `block_tables[i, p // block_size]`, slot `p % block_size`.

    Attributes:
        token_ids: [tokens].
        starts: [sequences + 1], rising strictly from 0 to tokens.
        positions: [sequences], the position of each sequence's first new token.
        block_tables: [sequences, blocks], padded with -1.
        logit_rows: [rows], indices into `token_ids` whose logits are wanted, rising.
    """

    token_ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    positions: NDArray[np.int32]
    block_tables: NDArray[np.int32]
    logit_rows: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Cut:
    """Which logits of a row are wanted: those that pass both limits. Without limits it is the whole row.

    Attributes:
        count: Only the greatest so many, at least 1; of equal logits the lowest token ids. None for all.
        margin: Only those at most this much below the greatest.
        temperature: If above 0, what the others sum up to at this temperature is of interest, see `Candidates.rest`.
    """

    count: int | None = None
    margin: float = math.inf
    temperature: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether nothing is cut."""
        return self.count is None and self.margin == math.inf


@dataclass(frozen=True, slots=True)
class Candidates:
    """Logits of a row: at least those its cut lets pass, each the same to the bit as in the whole row.

    If the cut asks for `rest`, the least of those that pass may be missing too: `rest` counts them, and none that is
    missing is above one that is here.

    Attributes:
        logits: float32 [n]; valid until the backend's next call.
        token_ids: int64 [n], rising: whose logits they are. None if it is the whole row.
        rest: At least the sum of exp((logit - greatest) / temperature) over all other tokens, if the cut asks for it.
        whole: Brings the whole row, float32 [vocab]. None if it is whole already, or the cut asks for no `rest`.
    """

    logits: NDArray[np.float32]
    token_ids: NDArray[np.int64] | None = None
    rest: float = 0.0
    whole: Callable[[], NDArray[np.float32]] | None = None


class Backend(Protocol):
    """A device with a model's weights on it. Loading is the constructor's work.

    A row's logits depend on its sequence's tokens alone: never on what else is in the batch or how the prompt was cut.
    """

    @property
    def description(self) -> str:
        """The device in a few words for people, such as `cpu (avx512_vnni, 8 threads)`."""

    def allocate(self, num_blocks: int, block_size: int) -> None:
        """Make room for a KV cache of `num_blocks` blocks of `block_size` positions; forgets any earlier one.

        Raises:
            DeviceError: There is not enough memory; the message says how much is there and what to change.
        """

    def forward(self, batch: Batch) -> NDArray[np.float32]:
        """Write the batch's keys and values to the cache; return logits [rows, vocab], valid until the next call."""

    def candidates(self, batch: Batch, cuts: Sequence[Cut]) -> list[Candidates]:
        """As `forward`, but of each row only the logits that its cut lets pass are sure to be there.

        A backend that can tell without computing or moving all of them saves most of the lm_head's work.
        """
