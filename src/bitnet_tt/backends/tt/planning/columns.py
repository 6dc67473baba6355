"""How two cards share every matrix of a model: each has some of its columns, which are outputs (tensor parallelism)."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_tt.backends.tt.planning.grid import STRIP, TILE
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError

TENSOR_PARALLEL_CARDS = 2
"""Cards that can share matrices. They exchange their columns in pairs."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that one card computes, of the rows that pass through a layer and of the logits. All in elements.

    Attributes:
        place: The card's place, from 0.
        cards: Cards that share the matrices.
        queries: Of the queries, and so of attention: whole heads.
        keys: Of the keys, and also of the values: the heads that belong to the queries.
        hidden: Of the residual stream.
        inner: Of the gate, and also of up.
        vocabulary: Of the logits.
    """

    place: int
    cards: int
    queries: range
    keys: range
    hidden: range
    inner: range
    vocabulary: range

    def of(self, linear: str) -> range:
        """Return the outputs that the card computes of a linear, one of `LINEAR_NAMES`."""
        return {
            "q_proj": self.queries,
            "k_proj": self.keys,
            "v_proj": self.keys,
            "o_proj": self.hidden,
            "gate_proj": self.inner,
            "up_proj": self.inner,
            "down_proj": self.hidden,
        }[linear]


def all_columns(config: ModelConfig) -> Columns:
    """Return the columns of a card that has all of them."""
    return Columns(
        place=0,
        cards=1,
        queries=range(config.query_features),
        keys=range(config.kv_features),
        hidden=range(config.hidden_size),
        inner=range(config.intermediate_size),
        vocabulary=range(config.vocab_size),
    )


def share_columns(config: ModelConfig, cards: int = TENSOR_PARALLEL_CARDS) -> tuple[Columns, ...]:
    """Share the columns of every matrix of a model between two cards, as evenly as the units allow.

    A KV head and its query heads stay together. Other cuts fall on whole strips, so that rows are exchanged in whole
    pages, or on whole tiles if there are too few strips.

    Args:
        config: The model.
        cards: How many cards.

    Raises:
        DeviceError: The model or the number of cards does not allow it; the message says why.
    """
    if cards != TENSOR_PARALLEL_CARDS:
        raise DeviceError(
            f"cards is {cards}; tensor parallelism works on {TENSOR_PARALLEL_CARDS} cards: use "
            f"cards={TENSOR_PARALLEL_CARDS}, or a pipeline of layers (without tensor_parallel)"
        )
    if config.num_key_value_heads < cards:
        raise DeviceError(
            f"num_key_value_heads is {config.num_key_value_heads}, fewer than {cards} cards; tensor parallelism cuts "
            "no head: use a pipeline of layers (without tensor_parallel)"
        )
    if config.quantization.use_rms_norm:
        raise DeviceError(
            "the model's linears have norms of their own (use_rms_norm), which tensor parallelism does not have: use a "
            "pipeline of layers (without tensor_parallel)"
        )
    for name, size in (
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("vocab_size", config.vocab_size),
    ):
        if size <= TILE:
            raise DeviceError(
                f"{name} is {size}; tensor parallelism needs more than {TILE} columns to share: use one card"
            )
    heads = _halves(config.num_key_value_heads, 1)
    group = config.queries_per_kv_head * config.head_dim
    hidden, inner = (_halves(size, _unit(size)) for size in (config.hidden_size, config.intermediate_size))
    vocabulary = _halves(config.vocab_size, TILE)
    return tuple(
        Columns(
            place=place,
            cards=cards,
            queries=range(heads[place].start * group, heads[place].stop * group),
            keys=range(heads[place].start * config.head_dim, heads[place].stop * config.head_dim),
            hidden=hidden[place],
            inner=inner[place],
            vocabulary=vocabulary[place],
        )
        for place in range(cards)
    )


def _unit(size: int) -> int:
    return STRIP if size >= 2 * STRIP else TILE


def _halves(size: int, unit: int) -> tuple[range, range]:
    """Cut a size into two parts, on the multiple of the unit that is nearest to the middle."""
    cut = (size + unit) // (2 * unit) * unit
    return range(cut), range(cut, size)
