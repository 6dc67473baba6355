"""The time of a decode step on a card by arithmetic: a model of the card, not a measurement.

Each program has a floor and a likely time. The floor counts one instruction in each cycle, all of DRAM's bandwidth, and
nothing else: no step can be faster. The likely time adds what others have measured on such cards: the launch, the rate
at which kernels read DRAM, and the latency of transfers. A program reads DRAM while it computes, so the longer of the
two counts.
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
from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, BFP4_TILE_BYTES, FLOAT32_BYTES, TILE
from bitnet_tt.backends.tt.planning.launches import decode_launches
from bitnet_tt.backends.tt.planning.memory import kv_cache_bytes, weight_bytes
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.tt.planning.products import Product
from bitnet_tt.backends.tt.planning.streams import Streams

PEAK_BANDWIDTH = 512e9
"""DRAM bandwidth of a p150 in bytes a second. Source: Tenstorrent's data sheet."""

PACKET_BANDWIDTH = 344e9
"""What kernels reach that read packets of 16 KB with transaction ids, from cores anywhere.

Source: tt-metal, issue 55898. One core beside each bank reaches 500e9 (issue 54242). Ours are several around each bank,
so they should come between the two.
"""

TILE_BANDWIDTH = 466e9
"""What stock products reach on tiles of 1 KB and more: 91 % of the peak. Source: tt-metal, issue 47885."""

SMALL_TILE_BANDWIDTH = 279e9
"""What a stock product reached on tiles of 576 bytes (bfp4). Source: tt-metal, issue 47885."""

CLOCK = 1.35e9
"""Cycles a second of a core. The vector unit starts one instruction in each. Source: Tenstorrent's data sheet."""

FLOPS_PER_CYCLE = 2 * 8 * 16 * 16
"""Operations of one core in one pass (LoFi): an 8x16 by 16x16 product a cycle.

Source: tech_reports/matrix_engine/matrix_engine.md in tt-metal.
"""

LAUNCH_SECONDS = 1.7e-6
"""A traced launch of a program with common run-time arguments. Source: tt-metal, pgm_dispatch.json for bh_p150."""

UNPACK_CYCLES = 21
"""Cycles of the unpacker for a tile of 2-bit weights. Source: the times of tt-metal's compressed matmul."""

FIRST_READ_CYCLES, READ_CYCLES = 373, 30
"""Cycles until the first read of L1 returns, and for each read after it. Source: tt-metal's NoC figures (24 to 36)."""

HOST_SECONDS = 0.2e-3
"""Inputs to the card and tokens back. Source: tt-metal's transfers of small tensors, .05 to .28 ms each."""

# Instructions of the math processor, most of them for the vector unit, counted on an instrumented simulator at the
# sizes of 2B4T. For norm and quantiser: for a page of 1024 elements, and beside the pages. A page of several rows has
# more, because each takes its part of the gain.
_PAGE_INSTRUCTIONS, _ROW_INSTRUCTIONS = 1220, 240
_SHARED_PAGE_INSTRUCTIONS, _SHARED_ROW_INSTRUCTIONS = 1310, 510
_COMBINED_PAGE_INSTRUCTIONS = 500  # more, for rows in tiles: residual or gate
_NORM_PAGE_INSTRUCTIONS = 360  # for a norm alone
_PASS_INSTRUCTIONS = 140  # after a product: scales, residual or gate
_HEADS_INSTRUCTIONS = 280  # for a page of q, k and v: rotation

_LM_HEAD_PASSES = 4  # of the matrix engine (HiFi4). A ternary product takes one (LoFi).


@dataclass(frozen=True, slots=True)
class ProgramCost:
    """The cost of a program of a decode step, over all its launches.

    Attributes:
        name: The program.
        part: The part of a step that it belongs to, a key of `DecodeCost.shares`.
        count: How many times a step runs it.
        cores: Cores that have work.
        dram_bytes: Bytes from and to DRAM.
        dram_seconds: The time of these bytes at the rate that such kernels reach.
        instructions: Cycles of the busiest core's vector unit, unpacker or matrix engine.
        transfers: Transfers of the busiest core beside those of weights and cache.
        floor_seconds: No card can be faster.
        seconds: The likely time, with launches.
        bound: What takes longer, beside the launch: `DRAM` or `cores`.
    """

    name: str
    part: str
    count: int
    cores: int
    dram_bytes: int
    dram_seconds: float
    instructions: int
    transfers: int
    floor_seconds: float
    seconds: float
    bound: str


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """The cost of a decode step.

    Attributes:
        costs: Its programs.
        launches: Programs that a step launches; more where linears have norms of their own (`use_rms_norm`).
        weight_bytes: DRAM of the weights.
        cache_bytes: DRAM of a KV cache for this context and batch.
        floor_seconds: The sum of the programs' floors.
        seconds: The sum of the programs' likely times, and the host's part.
        tokens_per_second: Tokens a second of all sequences together, in the likely time.
        bandwidth_seconds: The time that DRAM needs for all bytes at its peak.
        bfp4_bandwidth_seconds: The same if the ternary weights were stock bfp4 tiles.
        binding: The part of the step that takes most of the time, a key of `shares`, and what bounds its longest
            program.
        shares: Share of the likely time of each part.
    """

    costs: tuple[ProgramCost, ...]
    launches: int
    weight_bytes: int
    cache_bytes: int
    floor_seconds: float
    seconds: float
    tokens_per_second: float
    bandwidth_seconds: float
    bfp4_bandwidth_seconds: float
    binding: tuple[str, str]
    shares: dict[str, float]


def decode_cost(plan: Plan, batch: int, context: int) -> DecodeCost:
    """Return the cost of a decode step.

    Args:
        plan: The model and the card.
        batch: Sequences, at most 32.
        context: Positions of each sequence.
    """
    few = plan.lines(batch) is not None
    costs = (
        *(_few_row_programs(plan, batch) if few else _many_row_programs(plan)),
        _attention(plan, batch, context),
        *_head_programs(plan, batch),
    )
    seconds = sum(cost.seconds for cost in costs) + HOST_SECONDS
    shares = {"host": HOST_SECONDS / seconds}
    for cost in costs:
        shares[cost.part] = shares.get(cost.part, 0.0) + cost.seconds / seconds
    binding = max((part for part in shares if part != "host"), key=shares.__getitem__)
    longest = max((cost for cost in costs if cost.part == binding), key=lambda cost: cost.seconds)
    dram = sum(cost.dram_bytes for cost in costs)
    tiles = sum(product.k * product.n for product in plan.layer_products(DECODE_ROWS))
    streamed = sum(streams.cores * streams.bytes for _, streams in plan.layer_streams())
    difference = plan.config.num_hidden_layers * (tiles * BFP4_TILE_BYTES - streamed)
    return DecodeCost(
        costs=costs,
        launches=decode_launches(plan, batch),
        weight_bytes=weight_bytes(plan),
        cache_bytes=kv_cache_bytes(plan, batch * -(-context // TILE)),
        floor_seconds=sum(cost.floor_seconds for cost in costs),
        seconds=seconds,
        tokens_per_second=batch / seconds,
        bandwidth_seconds=dram / PEAK_BANDWIDTH,
        bfp4_bandwidth_seconds=(dram + difference) / PEAK_BANDWIDTH,
        binding=(binding, longest.bound),
        shares=shares,
    )


def _few_row_programs(plan: Plan, batch: int) -> Iterator[ProgramCost]:
    config, lines = plan.config, plan.lines(batch) or 1
    strips = -(-config.hidden_size // 256)
    yield _program(
        "embedding", "other", 1, cores=strips * lines, dram_bytes=lines * config.hidden_size * BFLOAT16_BYTES
    )
    for name, streams in plan.layer_streams():
        yield _bit_linear(name, config.num_hidden_layers, streams, lines)
    yield _heads(plan, lines, together=lines == 1)


def _bit_linear(name: str, count: int, streams: Streams, lines: int) -> ProgramCost:
    features = streams.depth * TILE
    pages = -(-features * lines // TILE**2)
    if lines == 1:
        vectors = pages * _PAGE_INSTRUCTIONS + _ROW_INSTRUCTIONS
    else:
        vectors = pages * _SHARED_PAGE_INSTRUCTIONS + _SHARED_ROW_INSTRUCTIONS
    return _program(
        name,
        "ternary weights",
        count,
        cores=streams.cores,
        dram_bytes=streams.cores * streams.bytes,
        instructions=vectors + streams.passes * _PASS_INSTRUCTIONS + streams.tiles * UNPACK_CYCLES,
        transfers=-(-features // 256) + 1,
        bandwidth=PACKET_BANDWIDTH,
    )


def _many_row_programs(plan: Plan) -> Iterator[ProgramCost]:
    """The programs of a layer for more than 8 rows, without attention. The rows are in tiles, in pieces of 64 bytes."""
    config, layers = plan.config, plan.config.num_hidden_layers
    # The embedding, its conversion to float32, and the last addition to the residual stream.
    yield _program("embedding", "other", 3, cores=1, dram_bytes=DECODE_ROWS * config.hidden_size * BFLOAT16_BYTES)
    for (name, streams), product in zip(plan.layer_streams(), plan.layer_products(DECODE_ROWS), strict=True):
        yield _program(
            f"{name}, expanded",
            "ternary weights",
            layers,
            cores=streams.cores,
            dram_bytes=streams.cores * streams.bytes + product.weight_bytes,
            instructions=streams.tiles * UNPACK_CYCLES,
            bandwidth=PACKET_BANDWIDTH,
        )
        yield _product(name, "ternary weights", layers, product, 1, SMALL_TILE_BANDWIDTH)
        pages = -(-product.k // TILE)
        yield _program(
            f"norm of {name}",
            "norms",
            layers,
            cores=DECODE_ROWS,
            instructions=pages * (_PAGE_INSTRUCTIONS + _COMBINED_PAGE_INSTRUCTIONS) + _ROW_INSTRUCTIONS,
            transfers=6 * product.k,  # two operands and a result, in halves of tiles
        )
    yield _heads(plan, DECODE_ROWS, together=False)


def _heads(plan: Plan, rows: int, *, together: bool) -> ProgramCost:
    """Return the cost of rotating heads; `together` if the elements of a row lie together."""
    config = plan.config
    width, rotated = config.query_features + 2 * config.kv_features, config.query_features + config.kv_features
    pages = -(-width // TILE**2)
    fills = 4 * pages * TILE**2 - 3 * rotated - width  # words of the buffers that are the same for all rows
    reads = -(-width // (256 if together else 16)) + 4 * rotated // config.head_dim  # the row, swapped halves, angles
    return _program(
        "heads",
        "heads",
        config.num_hidden_layers,
        cores=rows,
        instructions=pages * _HEADS_INSTRUCTIONS + fills,
        transfers=reads,
    )


def _attention(plan: Plan, batch: int, context: int) -> ProgramCost:
    config = plan.config
    groups, rows = config.num_attention_heads // heads_together(config), plan.decode_bucket(batch)
    parts = rows * groups * parts_of(context)
    tiles = 2 * parts * PART_BLOCKS * config.head_dim // TILE
    cores = min(plan.grid.cores, parts)
    return _program(
        "attention",
        "attention",
        config.num_hidden_layers,
        cores=cores,
        # The results of parts are written, and read by the cores that add them.
        dram_bytes=tiles * TILE * TILE * FLOAT32_BYTES + 2 * parts * result_bytes(config),
        instructions=-(-parts // cores) * part_instructions(config),
        transfers=3 + 2 * parts_of(context),
        bandwidth=TILE_BANDWIDTH,
    )


def _head_programs(plan: Plan, batch: int) -> Iterator[ProgramCost]:
    config, rows = plan.config, plan.decode_bucket(batch)
    pages = -(-config.hidden_size // TILE**2)
    yield _program(
        "norm of lm_head",
        "lm_head",
        1,
        cores=rows,
        instructions=pages * _NORM_PAGE_INSTRUCTIONS,
        transfers=-(-config.hidden_size // 16),
    )
    yield _product("lm_head", "lm_head", 1, plan.lm_head(), _LM_HEAD_PASSES, TILE_BANDWIDTH)


def _product(name: str, part: str, count: int, product: Product, passes: int, bandwidth: float) -> ProgramCost:
    # Between products a decode step's rows stay in L1. Only the logits go to DRAM, on their way to the host.
    logits = product.rows * product.n * TILE * TILE * FLOAT32_BYTES if name == "lm_head" else 0
    return _program(
        name,
        part,
        count,
        cores=product.cores,
        dram_bytes=product.weight_bytes + logits,
        instructions=int(passes * product.flops / product.cores / FLOPS_PER_CYCLE),
        bandwidth=bandwidth,
    )


def _program(
    name: str,
    part: str,
    count: int,
    *,
    cores: int,
    dram_bytes: int = 0,
    instructions: int = 0,
    transfers: int = 0,
    bandwidth: float = TILE_BANDWIDTH,
) -> ProgramCost:
    """Return the cost of `count` launches; the sizes are those of one launch."""
    dram, busy = dram_bytes / bandwidth, (instructions + FIRST_READ_CYCLES + transfers * READ_CYCLES) / CLOCK
    return ProgramCost(
        name=name,
        part=part,
        count=count,
        cores=cores,
        dram_bytes=count * dram_bytes,
        dram_seconds=count * dram,
        instructions=count * instructions,
        transfers=count * transfers,
        floor_seconds=count * max(dram_bytes / PEAK_BANDWIDTH, instructions / CLOCK),
        seconds=count * (LAUNCH_SECONDS + max(dram, busy)),
        bound="DRAM" if dram >= busy else "cores",
    )
