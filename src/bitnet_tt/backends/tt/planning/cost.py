"""The cost of a decode step on a card by arithmetic: a model of the card, not a measurement.

It counts the time that DRAM needs for the bytes, and the time that the arithmetic needs: on the matrix engines, or in
attention on the vector units. It leaves out launches, the work between products, and the transfer to the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitnet_tt.backends.tt.planning.attention import (
    PART_BLOCKS,
    heads_together,
    part_instructions,
    parts_of,
    result_bytes,
)
from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, FLOAT32_BYTES, TILE
from bitnet_tt.backends.tt.planning.launches import decode_launches
from bitnet_tt.backends.tt.planning.memory import kv_cache_bytes, weight_bytes
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.tt.planning.products import Product

PEAK_BANDWIDTH = 512e9
"""DRAM bandwidth of a p150 in bytes a second. Source: Tenstorrent's data sheet."""

STREAMED_BANDWIDTH = 466e9
"""DRAM bandwidth in bytes a second that kernels reach which only stream. Source: reports of Tenstorrent's kernels."""

CLOCK = 1.35e9
"""Cycles a second of a core. The vector unit starts one instruction in each. Source: Tenstorrent's data sheet."""

FLOPS_PER_CORE = 2 * 8 * 16 * 16 * CLOCK
"""Operations a second of one core in one pass (LoFi): an 8x16 by 16x16 product a cycle.

Source: tech_reports/matrix_engine/matrix_engine.md in tt-metal.
"""

_LM_HEAD_PASSES = 4  # of the matrix engine (HiFi4). A ternary product takes one (LoFi).

_TERNARY = "ternary weights"


@dataclass(frozen=True, slots=True)
class OperationCost:
    """The cost of one operation of a decode step, over all layers that have it.

    Attributes:
        name: The operation.
        count: How many times a step runs it.
        tiles: Tiles of weights or of cache that it reads, each once.
        cores: Cores that have work.
        dram_bytes: Bytes from and to DRAM, over all counts.
        l1_bytes: L1 of one core for the buffers of a product. None where ttnn decides.
        flops: Multiplications and additions over all counts; each pass of the matrix engine counts.
        math_seconds: The time that the matrix engines or the vector units need.
        seconds: The larger of `math_seconds` and the time that DRAM needs.
        bound: Which of the two is larger: `DRAM` or `math`.
    """

    name: str
    count: int
    tiles: int
    cores: int
    dram_bytes: int
    l1_bytes: int | None
    flops: int
    math_seconds: float
    seconds: float
    bound: str

    @property
    def part(self) -> str:
        """The part of a step that this operation belongs to, a key of `DecodeCost.shares`."""
        return self.name if self.name in ("attention", "lm_head", "embedding") else _TERNARY


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """The cost of a decode step.

    Attributes:
        costs: Its operations.
        launches: Programs that a step launches; more where linears have norms of their own (`use_rms_norm`).
        weight_bytes: DRAM of the weights.
        cache_bytes: DRAM of a KV cache for this context and batch.
        seconds: The sum of the operations' times. No step can be faster.
        tokens_per_second: Maximum tokens a second of all sequences together, at `PEAK_BANDWIDTH`.
        streamed_tokens_per_second: The same at `STREAMED_BANDWIDTH`.
        binding: The part of the step that takes most of the time, a key of `shares`, and whether its longest operation
            is bound by `DRAM` or `math`.
        shares: Share of the time of each part: ternary weights, attention, lm_head, embedding.
    """

    costs: tuple[OperationCost, ...]
    launches: int
    weight_bytes: int
    cache_bytes: int
    seconds: float
    tokens_per_second: float
    streamed_tokens_per_second: float
    binding: tuple[str, str]
    shares: dict[str, float]


def decode_cost(plan: Plan, batch: int, context: int) -> DecodeCost:
    """Return the cost of a decode step.

    Args:
        plan: The model and the card.
        batch: Sequences, at most 32.
        context: Positions of each sequence.
    """
    costs = tuple(_operations(plan, batch, context))
    seconds = sum(cost.seconds for cost in costs)
    streamed = sum(max(cost.dram_bytes / STREAMED_BANDWIDTH, cost.math_seconds) for cost in costs)
    shares: dict[str, float] = {}
    for cost in costs:
        shares[cost.part] = shares.get(cost.part, 0.0) + cost.seconds / seconds
    binding = max(shares, key=shares.__getitem__)
    longest = max((cost for cost in costs if cost.part == binding), key=lambda cost: cost.seconds)
    return DecodeCost(
        costs=costs,
        launches=decode_launches(plan.config),
        weight_bytes=weight_bytes(plan),
        cache_bytes=kv_cache_bytes(plan, batch * -(-context // TILE)),
        seconds=seconds,
        tokens_per_second=batch / seconds,
        streamed_tokens_per_second=batch / streamed,
        binding=(binding, longest.bound),
        shares=shares,
    )


def _operations(plan: Plan, batch: int, context: int) -> Iterator[OperationCost]:
    config, layers = plan.config, plan.config.num_hidden_layers
    embedding_bytes = batch * config.hidden_size * BFLOAT16_BYTES
    yield _operation("embedding", 1, tiles=batch, cores=1, dram_bytes=embedding_bytes, l1_bytes=None, flops=0)
    for product in plan.layer_products(DECODE_ROWS):
        yield _product_cost(product, layers)
    yield _attention_cost(plan, batch, context)
    yield _product_cost(plan.lm_head(), 1, _LM_HEAD_PASSES)


def _product_cost(product: Product, count: int, passes: int = 1) -> OperationCost:
    # Between products a decode step's rows stay in L1. Only the logits go to DRAM, on their way to the host.
    logits = product.rows * product.n * TILE * TILE * FLOAT32_BYTES if product.name == "lm_head" else 0
    return _operation(
        product.name,
        count,
        tiles=product.k * product.n,
        cores=product.cores,
        dram_bytes=count * (product.weight_bytes + logits),
        l1_bytes=product.l1_bytes,
        flops=count * passes * product.flops,
    )


def _attention_cost(plan: Plan, batch: int, context: int) -> OperationCost:
    config, layers = plan.config, plan.config.num_hidden_layers
    groups, rows = config.num_attention_heads // heads_together(config), plan.decode_bucket(batch)
    parts = rows * groups * parts_of(context)
    tiles = 2 * parts * PART_BLOCKS * config.head_dim // TILE
    # The results of parts are written, and read by the cores that add them.
    traffic = tiles * TILE * TILE * plan.cache_element_bytes + 2 * parts * result_bytes(config)
    cores = min(plan.grid.cores, parts)
    return _operation(
        "attention",
        layers,
        tiles=tiles,
        cores=cores,
        dram_bytes=layers * traffic,
        l1_bytes=None,
        flops=layers * 2 * tiles * TILE * TILE * heads_together(config),
        math_seconds=layers * -(-parts // cores) * part_instructions(config) / CLOCK,
    )


def _operation(
    name: str,
    count: int,
    *,
    tiles: int,
    cores: int,
    dram_bytes: int,
    l1_bytes: int | None,
    flops: int,
    math_seconds: float | None = None,
) -> OperationCost:
    dram = dram_bytes / PEAK_BANDWIDTH
    math = flops / (FLOPS_PER_CORE * cores) if math_seconds is None else math_seconds
    bound = "DRAM" if dram >= math else "math"
    return OperationCost(name, count, tiles, cores, dram_bytes, l1_bytes, flops, math, max(dram, math), bound)
