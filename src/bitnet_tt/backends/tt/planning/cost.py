"""The time of a decode step on a card by arithmetic: a model of the card, not a measurement.

Each program has a floor and a likely time. The floor counts one instruction in each cycle, all of DRAM's bandwidth, and
nothing else: no step can be faster. The likely time adds what others have measured on such cards (`rates.py`): the
launch, the rate at which kernels read DRAM, and the latency of transfers. Its range has the best and the worst that was
measured. A program reads DRAM while it computes, so the longer of the two counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bitnet_tt.backends.tt.planning.attention import (
    PART_BLOCKS,
    combine_instructions,
    heads_together,
    own_instructions,
    own_transfers,
    part_instructions,
    parts_of,
    result_bytes,
)
from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, BFP4_TILE_BYTES, FLOAT32_BYTES, TILE
from bitnet_tt.backends.tt.planning.launches import decode_launches
from bitnet_tt.backends.tt.planning.memory import kv_cache_bytes, weight_bytes
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan
from bitnet_tt.backends.tt.planning.products import Product
from bitnet_tt.backends.tt.planning.rates import (
    BEST,
    CLOCK,
    FIRST_READ_CYCLES,
    FLOPS_PER_CYCLE,
    LIKELY,
    PEAK_BANDWIDTH,
    UNPACK_BYTES,
    UNPACK_CYCLES,
    WORST,
    Rates,
    Reading,
)
from bitnet_tt.backends.tt.planning.streams import Streams

# Instructions of the math processor, most of them for the vector unit, counted on an instrumented simulator at the
# sizes of 2B4T. For norm and quantiser: for a page of 1024 elements, and beside the pages. A page of several rows has
# more, because each takes its part of the gain.
_PAGE_INSTRUCTIONS, _ROW_INSTRUCTIONS = 715, 200
_SHARED_PAGE_INSTRUCTIONS, _SHARED_ROW_INSTRUCTIONS = 865, 450
_COMBINED_PAGE_INSTRUCTIONS = 500  # more, for rows in tiles: residual or gate
_NORM_PAGE_INSTRUCTIONS = 380  # for a norm alone
_PASS_INSTRUCTIONS = 140  # after a product: scales, residual or gate
_HEADS_INSTRUCTIONS = 620  # for a page of q, k and v in tiles: scales and rotation

_EXPANDED = ", expanded"  # a product's weights, to bfp4
_COMPARE_INSTRUCTIONS = 9  # of a data movement processor for a logit, counted in the kernel's listing (advance.cpp)

_LM_HEAD_PASSES = 4  # of the matrix engine (HiFi4). A ternary product takes one (LoFi).
_SEARCH_CYCLES = 6  # for a logit, of a data movement processor: the kernel's instructions, and latencies of L1


@dataclass(frozen=True, slots=True)
class ProgramCost:
    """The cost of a program of a decode step, over all its launches.

    Attributes:
        name: The program.
        part: The part of a step that it belongs to, a key of `DecodeCost.shares`.
        count: How many times a step runs it.
        cores: Cores that have work.
        dram_bytes: Bytes from and to DRAM.
        dram_seconds: The time of these bytes at the likely rate.
        instructions: Cycles of the busiest core's vector unit, unpacker or matrix engine.
        transfers: Transfers of the busiest core beside those of weights and cache.
        floor_seconds: No card can be faster.
        seconds: The likely time, with launches.
        range_seconds: The time at the best and at the worst rates.
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
    range_seconds: tuple[float, float]
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
        range_seconds: The same at the best and at the worst rates.
        tokens_per_second: Tokens a second of all sequences together, in the likely time.
        bandwidth_seconds: The time that DRAM needs for all bytes at its peak.
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
    range_seconds: tuple[float, float]
    tokens_per_second: float
    bandwidth_seconds: float
    binding: tuple[str, str]
    shares: dict[str, float]


def decode_cost(plan: Plan, batch: int, context: int) -> DecodeCost:
    """Return the cost of a decode step of greedy texts.

    Args:
        plan: The model and the card.
        batch: Sequences, at most 32.
        context: Positions of each sequence.
    """
    lines = plan.lines(batch)
    layers = _many_row_programs(plan) if lines is None else _few_row_programs(plan, lines)
    head = _head_programs(plan, batch, in_strips=lines is not None)
    costs = (*layers, _attention(plan, batch, context, lines), *head)
    return _sum(plan, batch, context, costs, decode_launches(plan, batch), weight_bytes(plan))


def layout_costs(plan: Plan, batch: int, context: int) -> dict[str, DecodeCost]:
    """Return the cost of a decode step for each form of ternary weights, the stock one included.

    The stock form is what TT-NN offers: tiles of bfp4, whose products are programs apart from norm and quantiser.
    """
    costs = {
        "codes, 2 bits": decode_cost(replace(plan, ternary_tiles="codes"), batch, context),
        "bfp2, 2.5 bits": decode_cost(replace(plan, ternary_tiles="bfp2"), batch, context),
    }
    stock = [cost for cost in _many_row_programs(plan) if not cost.name.endswith(_EXPANDED)]
    programs = (*stock, _attention(plan, batch, context, None), *_head_programs(plan, batch, in_strips=False))
    tiles = sum(product.k * product.n for product in plan.layer_products(DECODE_ROWS))
    streamed = sum(streams.cores * streams.bytes for _, streams in plan.layer_streams())
    more = plan.config.num_hidden_layers * (tiles * BFP4_TILE_BYTES - streamed)
    launches = sum(cost.count for cost in programs)
    costs["stock bfp4, 4.5 bits"] = _sum(plan, batch, context, programs, launches, weight_bytes(plan) + more)
    return costs


def _sum(
    plan: Plan, batch: int, context: int, costs: tuple[ProgramCost, ...], launches: int, weights: int
) -> DecodeCost:
    seconds = sum(cost.seconds for cost in costs) + LIKELY.host_seconds(batch)
    best, worst = (
        sum(cost.range_seconds[end] for cost in costs) + rates.host_seconds(batch)
        for end, rates in enumerate((BEST, WORST))
    )
    shares = {"host": LIKELY.host_seconds(batch) / seconds}
    for cost in costs:
        shares[cost.part] = shares.get(cost.part, 0.0) + cost.seconds / seconds
    binding = max((part for part in shares if part != "host"), key=shares.__getitem__)
    longest = max((cost for cost in costs if cost.part == binding), key=lambda cost: cost.seconds)
    return DecodeCost(
        costs=costs,
        launches=launches,
        weight_bytes=weights,
        cache_bytes=kv_cache_bytes(plan, batch * -(-context // TILE)),
        floor_seconds=sum(cost.floor_seconds for cost in costs),
        seconds=seconds,
        range_seconds=(best, worst),
        tokens_per_second=batch / seconds,
        bandwidth_seconds=sum(cost.dram_bytes for cost in costs) / PEAK_BANDWIDTH,
        binding=(binding, longest.bound),
        shares=shares,
    )


def _few_row_programs(plan: Plan, lines: int) -> Iterator[ProgramCost]:
    config = plan.config
    strips = -(-config.hidden_size // 256)
    yield _program(
        "embedding", "other", 1, cores=strips * lines, dram_bytes=lines * config.hidden_size * BFLOAT16_BYTES
    )
    for name, streams in plan.layer_streams():
        yield _bit_linear(name, config.num_hidden_layers, streams, lines)


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
        reads="packets",
    )


def _many_row_programs(plan: Plan) -> Iterator[ProgramCost]:
    """The programs of a layer for more than 8 rows, without attention. The rows are in tiles, in pieces of 64 bytes."""
    config, layers = plan.config, plan.config.num_hidden_layers
    # The embedding, its conversion to float32, and the last addition to the residual stream.
    yield _program("embedding", "other", 3, cores=1, dram_bytes=DECODE_ROWS * config.hidden_size * BFLOAT16_BYTES)
    for (name, streams), product in zip(plan.layer_streams(), plan.layer_products(DECODE_ROWS), strict=True):
        yield _program(
            name + _EXPANDED,
            "ternary weights",
            layers,
            cores=streams.cores,
            dram_bytes=streams.cores * streams.bytes + product.weight_bytes,
            instructions=streams.tiles * UNPACK_CYCLES,
            reads="packets",
        )
        yield _product(name, layers, product)
        pages = -(-product.k // TILE)
        yield _program(
            f"norm of {name}",
            "norms",
            layers,
            cores=DECODE_ROWS,
            instructions=pages * (_PAGE_INSTRUCTIONS + _COMBINED_PAGE_INSTRUCTIONS) + _ROW_INSTRUCTIONS,
            transfers=6 * product.k,  # two operands and a result, in halves of tiles
        )
    if plan.columns is not None:
        # The gate apart from the norm of down, which needs whole rows.
        width = len(plan.own.inner)
        instructions = -(-width // TILE**2) * _COMBINED_PAGE_INSTRUCTIONS
        yield _program(
            "gate", "norms", layers, cores=DECODE_ROWS, instructions=instructions, transfers=6 * width // TILE
        )
    yield _heads(plan)


def _heads(plan: Plan) -> ProgramCost:
    """Return the cost of rotating the heads of many rows."""
    config = plan.config
    rotated = len(plan.own.queries) + len(plan.own.keys)
    width = rotated + len(plan.own.keys)
    pages = -(-width // TILE**2)
    fills = 4 * pages * TILE**2 - 3 * rotated - width  # words of the buffers that are the same for all rows
    reads = -(-width // 16) + 4 * rotated // config.head_dim  # the row, swapped halves, angles
    return _program(
        "heads",
        "heads",
        config.num_hidden_layers,
        cores=DECODE_ROWS,
        instructions=pages * _HEADS_INSTRUCTIONS + fills,
        transfers=reads,
    )


def _attention(plan: Plan, batch: int, context: int, lines: int | None) -> ProgramCost:
    """Return the cost of attention; it also rotates the heads of few rows, which share strips of `lines` rows."""
    config = plan.config
    heads, rows = len(plan.own.queries) // config.head_dim, plan.decode_bucket(batch)
    groups = heads // heads_together(config)
    parts = rows * groups * parts_of(context)
    tiles = 2 * parts * PART_BLOCKS * config.head_dim // TILE
    cores = min(plan.grid.cores, parts)
    combined = -(-rows * heads // plan.grid.cores) * parts_of(context)  # by one core
    instructions, transfers = part_instructions(config), 3 + 2 * combined
    if lines is not None:
        instructions += own_instructions(config)
        transfers += own_transfers(config, lines)
    return _program(
        "attention",
        "attention",
        config.num_hidden_layers,
        cores=cores,
        # The results of parts are written, and read by the cores that add them.
        dram_bytes=tiles * TILE * TILE * FLOAT32_BYTES + 2 * parts * result_bytes(config),
        instructions=-(-parts // cores) * instructions,
        instructions_after=combined * combine_instructions(config),
        transfers=transfers,
    )


def _head_programs(plan: Plan, batch: int, *, in_strips: bool) -> Iterator[ProgramCost]:
    """The lm_head, which finds the largest logits; and the final norm before it, if the rows are in tiles."""
    config, rows = plan.config, plan.decode_bucket(batch)
    if not in_strips:
        yield _program(
            "norm of lm_head",
            "lm_head",
            1,
            cores=rows,
            instructions=-(-config.hidden_size // TILE**2) * _NORM_PAGE_INSTRUCTIONS,
            transfers=-(-config.hidden_size // 16),
        )
    streams = plan.lm_head()
    row_pages = -(-config.hidden_size * rows // TILE**2) if in_strips else 0
    row_tile_bytes = (
        (rows if in_strips else TILE) * TILE * (FLOAT32_BYTES if plan.precision == "exact" else BFLOAT16_BYTES)
    )
    products = streams.tiles * _LM_HEAD_PASSES * (4 if in_strips else 16)  # up to 8 rows take a quarter of a tile
    unpacked = streams.tiles * streams.tile_bytes + streams.passes * streams.depth * row_tile_bytes
    searched = rows * streams.passes * streams.columns * TILE * _SEARCH_CYCLES
    yield _program(
        "lm_head",
        "lm_head",
        1,
        cores=streams.cores,
        dram_bytes=streams.cores * streams.bytes,
        # These are processors of their own.
        instructions=row_pages * _NORM_PAGE_INSTRUCTIONS + max(products, unpacked // UNPACK_BYTES, searched),
        transfers=-(-config.hidden_size // 256) if in_strips else streams.depth,
        reads="packets",
    )
    parts = plan.own.cards * plan.vocabulary_parts[0]  # about as many on each card
    lines = -(-rows // 16)  # a core has 16 rows
    yield _program(
        "advance",
        "other",
        1,
        cores=lines,
        instructions=parts * -(-rows // lines) * _COMPARE_INSTRUCTIONS,
        transfers=parts + rows + 7,  # the logits of the parts, the blocks of the rows, and lists of 16 elements
    )


def _product(name: str, count: int, product: Product) -> ProgramCost:
    return _program(
        name,
        "ternary weights",
        count,
        cores=product.cores,
        dram_bytes=product.weight_bytes,
        instructions=int(product.flops / product.cores / FLOPS_PER_CYCLE),
        reads="small tiles",
    )


def _program(
    name: str,
    part: str,
    count: int,
    *,
    cores: int,
    dram_bytes: int = 0,
    instructions: int = 0,
    instructions_after: int = 0,
    transfers: int = 0,
    reads: Reading = "tiles",
) -> ProgramCost:
    """Return the cost of `count` launches; the sizes are those of one launch.

    `instructions_after` begin when all of DRAM has been read.
    """
    after = instructions_after / CLOCK

    def seconds(rates: Rates) -> tuple[float, float]:
        """Return the time of DRAM and of the busiest core."""
        cycles = instructions + FIRST_READ_CYCLES + transfers * rates.read_cycles
        return dram_bytes / rates.bandwidth[reads], cycles / CLOCK

    best, likely, worst = (
        count * (rates.launch_seconds + max(seconds(rates)) + after) for rates in (BEST, LIKELY, WORST)
    )
    dram, busy = seconds(LIKELY)
    return ProgramCost(
        name=name,
        part=part,
        count=count,
        cores=cores,
        dram_bytes=count * dram_bytes,
        dram_seconds=count * dram,
        instructions=count * (instructions + instructions_after),
        transfers=count * transfers,
        floor_seconds=count * (max(dram_bytes / PEAK_BANDWIDTH, instructions / CLOCK) + after),
        seconds=likely,
        range_seconds=(best, worst),
        bound="DRAM" if dram >= busy else "cores",
    )
