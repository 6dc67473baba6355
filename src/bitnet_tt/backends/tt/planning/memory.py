"""DRAM that a model and its KV cache take on a card, and the check that both fit."""

from __future__ import annotations

from bitnet_tt.backends.tt.planning.grid import BFLOAT16_BYTES, FLOAT32_BYTES, TILE, UINT32_BYTES, Grid
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, Plan
from bitnet_tt.errors import DeviceError

_PAGE_ALIGNMENT = 64  # bytes: in DRAM each page starts at a multiple of it
_SPARE_DRAM = 0.1  # share of DRAM that is left free: activations and the runtime's own buffers go there


def weight_bytes(plan: Plan) -> int:
    """Return the DRAM of all tensors that stay on the card beside the cache: weights, tables, decode inputs."""
    config, grid = plan.config, plan.grid
    qkv_features = config.query_features + 2 * config.kv_features  # one scale for each column of q, k and v
    layer = sum(_tensor_bytes(grid, streams.cores, streams.bytes) for _, streams in plan.layer_streams())
    layer += sum(_row_bytes(grid, width) for width in [*config.norm_sizes.values(), qkv_features])
    lm_head = plan.lm_head()
    lm_head_bytes = (
        _tensor_bytes(grid, lm_head.cores, lm_head.bytes)
        + _row_bytes(grid, config.hidden_size)  # the final norm
        # The hidden states of the rows whose logits are computed, see `LMHead.pick`.
        + _tensor_bytes(grid, config.hidden_size // TILE, TILE * TILE * FLOAT32_BYTES)
    )
    embedding = _tensor_bytes(grid, config.vocab_size, config.hidden_size * BFLOAT16_BYTES)
    rotary_tables = 2 * _tensor_bytes(grid, plan.context_length, config.head_dim * FLOAT32_BYTES)
    table_rows, table_columns = plan.decode_table
    packed_rows, packed_columns = plan.packed_inputs
    # Token ids, positions and slots of a decode step, its block table, all of them packed, and the best candidates.
    decode_inputs = 3 * _tensor_bytes(grid, 1, DECODE_ROWS * UINT32_BYTES)
    decode_inputs += _tensor_bytes(grid, table_rows, table_columns * UINT32_BYTES)
    decode_inputs += _tensor_bytes(grid, packed_rows, packed_columns * UINT32_BYTES)
    decode_inputs += _tensor_bytes(grid, 1, 2 * DECODE_ROWS * UINT32_BYTES)
    return config.num_hidden_layers * layer + lm_head_bytes + embedding + rotary_tables + decode_inputs


def kv_cache_bytes(plan: Plan, num_blocks: int) -> int:
    """Return the DRAM of a KV cache of `num_blocks` blocks, over all layers."""
    tiles = num_blocks * plan.config.kv_features // TILE
    return 2 * plan.config.num_hidden_layers * _tensor_bytes(plan.grid, tiles, TILE * TILE * FLOAT32_BYTES)


def check_dram(plan: Plan, num_blocks: int) -> None:
    """Check that a KV cache fits into DRAM beside the weights.

    Raises:
        DeviceError: It does not. The message says how much fits and what to change.
    """
    weights, cache = weight_bytes(plan), kv_cache_bytes(plan, num_blocks)
    free = int(plan.grid.dram_bytes * (1 - _SPARE_DRAM)) - weights
    if free < 0:
        raise DeviceError(
            f"the weights take {_gib(weights)}, the card has {_gib(plan.grid.dram_bytes)}: use a smaller model, or "
            "device='cpu'"
        )
    if cache > free:
        raise DeviceError(
            f"a KV cache of {num_blocks * TILE} positions takes {_gib(cache)}, but beside the weights the card has "
            f"{_gib(free)}, enough for {free // kv_cache_bytes(plan, 1) * TILE} positions: ask for a smaller "
            "context_length or max_batch_size"
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
