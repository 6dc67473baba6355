"""What a step costs on a card by the plan's arithmetic: a model of the card, not a measurement. Pure Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitnet_tt.backends.tt.planning.launches import decode_launches
from bitnet_tt.backends.tt.planning.plan import BFLOAT16, DECODE_ROWS, FLOAT32, TILE, Grid, Plan, Product

BLACKHOLE = Grid(x=11, y=10, l1_bytes=1461120, dram_bytes=34217131008, dram_banks=8)
"""The smallest grid that a p150 shows, with the memory ttnn leaves of its 1.5 MB a core and 32 GB."""

BANDWIDTH = 512e9
"""Bytes a second of a p150's DRAM, by its data sheet."""

STREAMED_BANDWIDTH = 466e9
"""What Tenstorrent's own streaming kernels are reported to reach of it."""

FLOPS_PER_CORE = 2 * 8 * 16 * 16 * 1.35e9
"""Of one pass of the matrix engine, 8x16 times 16x16 a cycle."""

_HEAD_PASSES = 4  # HiFi4; a ternary product takes one
_ATTENTION_PASSES = {"exact": 10, "fast": 4}  # as many as there are terms of slices; HiFi4


@dataclass(frozen=True, slots=True)
class Cost:
    """One operation of a decode step, over all layers that have it.

    Attributes:
        name: Of the operation.
        count: How often a step does it.
        tiles: Tiles of weights or cache it reads, once.
        cores: Cores with work.
        dram_bytes: Bytes from and to DRAM, all counts together.
        l1_bytes: L1 of one core, for a product's buffers; None where ttnn decides.
        flops: Multiplications and additions, all counts together, passes of the matrix engine counted each.
        math_seconds: The time the matrix engines need.
        seconds: The larger of that and the time DRAM needs.
        bound: Which of the two it is: `DRAM` or `math`.
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


@dataclass(frozen=True, slots=True)
class Report:
    """A decode step.

    Attributes:
        costs: Its operations.
        launches: Programs a step starts; more where linears have norms of their own (`use_rms_norm`).
        weight_bytes: DRAM the weights take.
        cache_bytes: DRAM a cache of this context and batch takes.
        seconds: The sum of the costs' times: no step can be faster.
        tokens_per_second: Of all sequences together, at most.
        streamed_tokens_per_second: The same at the bandwidth that kernels reach.
        binding: What takes most of the time: a key of `shares`, and whether it is DRAM or math that it waits for.
        shares: Of the time: ternary weights, attention, lm_head, embedding.
    """

    costs: tuple[Cost, ...]
    launches: int
    weight_bytes: int
    cache_bytes: int
    seconds: float
    tokens_per_second: float
    streamed_tokens_per_second: float
    binding: tuple[str, str]
    shares: dict[str, float]


_TERMS = {"attention": "attention", "lm_head": "lm_head", "embedding": "embedding"}  # all others are ternary weights


def report(plan: Plan, batch: int, context: int) -> Report:
    """Cost of a decode step of `batch` sequences, at most 32, with `context` positions each."""
    costs = tuple(_costs(plan, batch, context))
    seconds = sum(cost.seconds for cost in costs)
    streamed = sum(max(cost.dram_bytes / STREAMED_BANDWIDTH, cost.math_seconds) for cost in costs)
    shares: dict[str, float] = {}
    for cost in costs:
        term = _TERMS.get(cost.name, "ternary weights")
        shares[term] = shares.get(term, 0.0) + cost.seconds / seconds
    binding = max(shares, key=shares.__getitem__)
    longest = max((cost for cost in costs if _TERMS.get(cost.name, "ternary weights") == binding), key=_seconds)
    return Report(
        costs=costs,
        launches=decode_launches(plan.config, plan.precision),
        weight_bytes=plan.weight_bytes(),
        cache_bytes=plan.kv_bytes(batch * -(-context // TILE)),
        seconds=seconds,
        tokens_per_second=batch / seconds,
        streamed_tokens_per_second=batch / streamed,
        binding=(binding, longest.bound),
        shares=shares,
    )


def _seconds(cost: Cost) -> float:
    return cost.seconds


def _costs(plan: Plan, batch: int, context: int) -> Iterator[Cost]:
    config, cores = plan.config, plan.grid.cores
    layers = config.num_hidden_layers
    yield _cost("embedding", 1, batch, 1, batch * config.hidden_size * BFLOAT16, None, 0, cores)
    for product in plan.layer_products(DECODE_ROWS):
        yield _product(product, layers, cores)
    # Keys and values are read from the cache, written side by side, and read again by attention, padding included.
    blocks = plan.decode_bucket(batch) * plan.context_blocks(context)
    tiles = 2 * blocks * plan.key_width // TILE
    used = min(cores, plan.decode_bucket(batch) * config.num_key_value_heads)
    traffic = 3 * tiles * TILE * TILE * plan.cache_bytes
    # Scores and sums of values: each tile of keys or values meets one tile of queries or probabilities.
    flops = _ATTENTION_PASSES[plan.precision] * tiles * 2 * TILE**3
    yield _cost("attention", layers, tiles, used, layers * traffic, None, layers * flops, cores)
    yield _product(plan.head(), 1, cores, _HEAD_PASSES)


def _product(product: Product, count: int, cores: int, passes: int = 1) -> Cost:
    # Between products a decode step's rows stay in L1; only the logits go to DRAM, on their way to the host.
    logits = product.rows * product.n * TILE * TILE * FLOAT32 if product.name == "lm_head" else 0
    return _cost(
        product.name,
        count,
        product.k * product.n,
        product.cores,
        count * (product.weight_bytes + logits),
        product.l1_bytes,
        count * passes * product.flops,
        cores,
    )


def _cost(
    name: str, count: int, tiles: int, used: int, dram_bytes: int, l1_bytes: int | None, flops: int, cores: int
) -> Cost:
    dram, math = dram_bytes / BANDWIDTH, flops / (FLOPS_PER_CORE * min(used, cores))
    bound = "DRAM" if dram >= math else "math"
    return Cost(name, count, tiles, used, dram_bytes, l1_bytes, flops, math, max(dram, math), bound)
