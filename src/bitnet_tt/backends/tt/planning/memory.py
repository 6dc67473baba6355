"""DRAM that a model and its KV cache take on a card, and the check that both fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bitnet_tt.backends.tt.planning.exchange import layer_exchanges, step_exchanges
from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, FLOAT32_BYTES, STRIP, TILE, UINT32_BYTES, Grid
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, FEW_ROWS, PREFILL_ROWS, Plan
from bitnet_tt.backends.tt.planning.shares import Share, whole
from bitnet_tt.errors import DeviceError

_PAGE_ALIGNMENT = 64  # bytes: in DRAM each page starts at a multiple of it
LANDING_PAGE_BYTES = TILE * TILE * FLOAT32_BYTES
"""Bytes of a page of the tensors in which hidden states and token ids arrive from another card."""

TOKEN_PAGE_BYTES = DECODE_ROWS * UINT32_BYTES
"""Bytes of the token ids of a decode step."""

_SPARE_DRAM = 0.1  # share of DRAM that is left free: activations and the runtime's own buffers go there


def weight_bytes(plan: Plan, share: Share | None = None) -> int:
    """Return the DRAM of all tensors that stay on a card beside the cache: weights, tables, decode inputs.

    Args:
        plan: The model and the cards.
        share: The card's share. None means all layers, and the plan's columns of them.
    """
    config, grid = plan.config, plan.grid
    share = share or whole(config, plan.columns)
    plan = replace(plan, columns=share.columns)
    qkv_features = len(plan.own.queries) + 2 * len(plan.own.keys)  # one scale for each column of q, k and v
    layer = sum(_tensor_bytes(grid, streams.cores, streams.bytes) for _, streams in plan.layer_streams())
    layer += sum(_row_bytes(grid, width) for width in [*config.norm_sizes.values(), qkv_features])
    rotary_tables = 2 * _tensor_bytes(grid, plan.context_length, config.head_dim * FLOAT32_BYTES)
    table_rows, table_columns = plan.decode_table
    packed_rows, packed_columns = plan.packed_inputs
    # Token ids, positions and slots of a decode step, its block table, and all of them packed.
    decode_inputs = 3 * _tensor_bytes(grid, 1, DECODE_ROWS * UINT32_BYTES)
    decode_inputs += _tensor_bytes(grid, table_rows, table_columns * UINT32_BYTES)
    decode_inputs += _tensor_bytes(grid, packed_rows, packed_columns * UINT32_BYTES)
    if share.is_last:
        decode_inputs += _tensor_bytes(grid, 1, 2 * DECODE_ROWS * UINT32_BYTES)  # the best candidates
    else:
        # Token ids come back from the next card.
        decode_inputs += _tensor_bytes(grid, landing_pages(grid, 1, TOKEN_PAGE_BYTES), LANDING_PAGE_BYTES)
    size = len(share.layers) * layer + rotary_tables + share.steps * decode_inputs
    if share.is_first:
        size += _tensor_bytes(grid, config.vocab_size, config.hidden_size * BFLOAT16_BYTES)  # the embedding
    if share.is_last:
        lm_head = plan.lm_head()
        size += _tensor_bytes(grid, lm_head.cores, lm_head.bytes)
        size += _row_bytes(grid, config.hidden_size)  # the final norm
        # The hidden states of the rows whose logits are computed, see `LMHead.pick`.
        size += _tensor_bytes(grid, config.hidden_size // TILE, TILE * TILE * FLOAT32_BYTES)
        if share.steps > 1:  # whole rows of logits
            size += share.steps * _tensor_bytes(grid, DECODE_ROWS, lm_head.width * TILE * FLOAT32_BYTES)
    if not share.is_first:
        size += _tensor_bytes(grid, hidden_landing_pages(plan), LANDING_PAGE_BYTES)
    if share.columns is not None:
        size += _tensor_bytes(grid, column_landing_pages(plan, share.place), LANDING_PAGE_BYTES)
    return size


def landing_pages(grid: Grid, pages: int, page_bytes: int) -> int:
    """Return the pages of a tensor in which pages of another size have room, as they are dealt out to the banks."""
    each_bank = -(-pages // grid.dram_banks) * page_bytes
    return -(-each_bank // LANDING_PAGE_BYTES) * grid.dram_banks


def hidden_landing_pages(plan: Plan) -> int:
    """Return the pages of the tensor in which hidden states arrive from another card: the rows of any step."""
    features, grid = plan.config.hidden_size, plan.grid
    row_tiles = plan.prefill_bucket(min(plan.context_length, PREFILL_ROWS)) // TILE
    in_tiles = landing_pages(grid, row_tiles * features // TILE, TILE * TILE * FLOAT32_BYTES)
    in_strips = landing_pages(grid, -(-features // STRIP), STRIP * FEW_ROWS * FLOAT32_BYTES)
    return max(in_tiles, in_strips)


def column_landing_pages(plan: Plan, place: int) -> int:
    """Return the pages of the tensor in which a card receives the columns of the other one: those of any step."""
    prompt = plan.prefill_bucket(min(plan.context_length, PREFILL_ROWS))
    exchanges = [one for rows in (1, FEW_ROWS, DECODE_ROWS) for one in step_exchanges(plan, rows)]
    return max(
        landing_pages(plan.grid, -(-one.groups * one.parts[1 - place] // one.in_a_page), one.page_bytes)
        for one in (*exchanges, *layer_exchanges(plan.config, prompt, None))
    )


def kv_cache_bytes(plan: Plan, num_blocks: int, share: Share | None = None) -> int:
    """Return the DRAM of a KV cache of `num_blocks` blocks, over all layers and heads or those of a card's share."""
    share = share or whole(plan.config, plan.columns)
    tiles = num_blocks * len(replace(plan, columns=share.columns).own.keys) // TILE
    return 2 * len(share.layers) * _tensor_bytes(plan.grid, tiles, TILE * TILE * FLOAT32_BYTES)


def free_bytes(plan: Plan, share: Share) -> int:
    """Return the DRAM that a card has for its cache beside its weights; negative if those do not fit."""
    return int(plan.grid.dram_bytes * (1 - _SPARE_DRAM)) - weight_bytes(plan, share)


def cache_blocks(plan: Plan, share: Share) -> int:
    """Return how many blocks of cache a card has room for."""
    return max(0, free_bytes(plan, share) // kv_cache_bytes(plan, 1, share))


def check_dram(plan: Plan, num_blocks: int, shares: Sequence[Share] = ()) -> None:
    """Check that a KV cache fits into the DRAM of each card beside its weights.

    Args:
        plan: The model and the cards.
        num_blocks: Blocks of the cache.
        shares: The shares of the cards. None means one card.

    Raises:
        DeviceError: It does not. The message says how much fits and what to change.
    """
    for share in shares or (whole(plan.config),):
        weights, cache = weight_bytes(plan, share), kv_cache_bytes(plan, num_blocks, share)
        free = free_bytes(plan, share)
        card = "the card" if share.cards == 1 else f"card {share.place}"
        if free < 0:
            raise DeviceError(
                f"the weights take {_gib(weights)}, {card} has {_gib(plan.grid.dram_bytes)}: use a smaller model, more "
                "cards, or device='cpu'"
            )
        if cache > free:
            raise DeviceError(
                f"a KV cache of {num_blocks * TILE} positions takes {_gib(cache)}, but beside the weights {card} has "
                f"{_gib(free)}, enough for {cache_blocks(plan, share) * TILE} positions: ask for a smaller "
                "context_length or max_batch_size, or use more cards"
            )


def _row_bytes(grid: Grid, width: int) -> int:
    """Return the DRAM of a float32 row: one page, padded to whole tiles."""
    return _tensor_bytes(grid, 1, -(-width // TILE**2) * TILE**2 * FLOAT32_BYTES)


def _tensor_bytes(grid: Grid, pages: int, page_bytes: int) -> int:
    """Return the DRAM of a tensor. ttnn reserves the same size in every bank, even in banks that get fewer pages."""
    aligned = -(-page_bytes // _PAGE_ALIGNMENT) * _PAGE_ALIGNMENT
    return -(-pages // grid.dram_banks) * grid.dram_banks * aligned


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
