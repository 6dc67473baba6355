"""Run every operation by itself at a model's shapes, and print where it breaks its contract.

python -m tests.device.mock.contracts CONFIG_JSON PRECISION

The contract: the result has the promised shape and dtype and lies in the same memory as the input; a second call needs
no new program; our own kernels ask for exactly the names that the host gives; and a matrix product takes as much L1 as
the plan says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import ttnn

from bitnet_tt.backends.options import Precision
from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.mesh import open_cards
from bitnet_tt.backends.tt.device.weights import load_lm_head
from bitnet_tt.backends.tt.model.bitlinear import BitLinear, multiply
from bitnet_tt.backends.tt.model.mlp import MLP
from bitnet_tt.backends.tt.ops.advance.op import advance, empty_best
from bitnet_tt.backends.tt.ops.common.angles import Angles
from bitnet_tt.backends.tt.ops.common.rows import PAGE, IntegerProduct
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.embed.op import embed
from bitnet_tt.backends.tt.ops.lm_head.op import lm_head
from bitnet_tt.backends.tt.ops.norm_quantize.op import (
    Norm,
    add,
    add_and_normalize,
    gate_and_normalize,
    normalize,
    normalize_strips,
)
from bitnet_tt.backends.tt.ops.paged_attention.op import paged_attention
from bitnet_tt.backends.tt.ops.place_inputs.op import place_inputs
from bitnet_tt.backends.tt.ops.scatter_rows.op import scatter_rows
from bitnet_tt.backends.tt.ops.split_heads.op import split_heads
from bitnet_tt.backends.tt.planning.grid import STRIP, TILE
from bitnet_tt.backends.tt.planning.plan import DECODE_ROWS, PREFILL_ROWS, HeadOutput, Plan
from bitnet_tt.backends.tt.planning.products import Product
from bitnet_tt.backends.tt.step.inputs import Inputs
from bitnet_tt.config import ModelConfig
from tests.device.mock.kernel_names import wrong_names
from tests.device.mock.l1 import KIBIBYTE, l1_peak
from tests.device.mock.model import empty_model

CONTEXT = 256


@dataclass(frozen=True, slots=True)
class Contract:
    """A call of an operation, and the shape, dtype and memory that its result must have."""

    name: str
    run: Callable[[], Any]
    shape: tuple[int, ...]
    dtype: Any = ttnn.float32
    buffer: Any = ttnn.BufferType.DRAM


def main(config_json: str, precision: Precision) -> None:
    config = ModelConfig.from_dict(json.loads(config_json))
    card = open_cards()[0]
    plan = Plan(config, card.grid, precision, CONTEXT)
    programs: list[Any] = []  # of our own kernels
    launch = ttnn.generic_op

    def recording_launch(tensors: Any, program: Any) -> Any:
        programs.append(program)
        return launch(tensors, program)

    with mock.patch.object(ttnn, "generic_op", recording_launch):
        broken = [fault for contract in _contracts(card, plan) for fault in _faults(contract, card)]
    broken += sorted({fault for program in programs for fault in wrong_names(program)})
    broken += [fault for rows in (DECODE_ROWS, PREFILL_ROWS) for fault in _wrong_plans(card, plan, rows)]
    card.close()
    print(json.dumps(broken))


def _faults(contract: Contract, card: Card) -> Iterator[str]:
    result = contract.run()
    programs = card.device.num_program_cache_entries()
    contract.run()
    found = (tuple(result.shape), result.dtype, result.memory_config().buffer_type)
    if found != (contract.shape, contract.dtype, contract.buffer):
        yield f"{contract.name}: {found}"
    if card.device.num_program_cache_entries() != programs:
        yield f"{contract.name}: another program for the same call"


def _contracts(card: Card, plan: Plan) -> Iterator[Contract]:
    yield from _row_contracts(card, plan, DECODE_ROWS, ttnn.BufferType.L1)
    yield from _row_contracts(card, plan, PREFILL_ROWS, ttnn.BufferType.DRAM)
    for lines in (1, 4, 8):
        yield from _few_row_contracts(card, plan, lines)
    yield from _attention_contracts(card, plan)
    inputs, best = Inputs.for_decode(card, plan), empty_best(card.device)
    placed = partial(_placed, _rows(card, *plan.packed_inputs), inputs)
    yield Contract("placed inputs", placed, plan.decode_table, ttnn.uint32)
    for name, top in (("found", _rows(card, plan.vocabulary_parts[0], 2 * DECODE_ROWS)), ("picked", None)):
        advanced = partial(_advanced, inputs, DECODE_ROWS, top, best)
        yield Contract(f"advance with tokens {name}", advanced, (1, DECODE_ROWS), ttnn.uint32)
    yield from _head_contracts(card, plan)


def _row_contracts(card: Card, plan: Plan, rows: int, buffer: Any) -> Iterator[Contract]:
    """The operations on rows of hidden states. The rows lie in L1 in a decode step, and in DRAM in a prompt."""
    config, layer = plan.config, empty_model(plan.config).layers[0]

    def row(width: int) -> Any:
        return _empty(card, [1, 1, rows, width], ttnn.float32, buffer)

    def integer_product(width: int) -> IntegerProduct:
        return IntegerProduct(row(width), row(1), (1.0, 1.0))

    for width in {config.hidden_size, config.intermediate_size, config.query_features}:
        shape, norm = (1, 1, rows, width), Norm(_rows(card, 1, -(-width // PAGE) * PAGE, ttnn.float32), 1e-5)
        for dtype in (ttnn.float32, ttnn.bfloat16):
            run = partial(normalize, row(width), norm, dtype)
            yield Contract(f"norm of {shape} to {dtype}", run, shape, dtype, buffer)
        for source, quantized in {
            "norm": partial(normalize, row(width), norm, None),
            "no norm": partial(normalize, row(width), None, None),
            "sum": lambda width=width, norm=norm: add_and_normalize(row(width), integer_product(width), norm, None)[1],
            "relu2": partial(gate_and_normalize, integer_product(2 * width), "relu2", norm, None),
            "silu": partial(gate_and_normalize, integer_product(2 * width), "silu", None, None),
        }.items():
            integers, largest = (partial(_part, quantized, part) for part in ("integers", "largest"))
            yield Contract(f"integers {shape} from {source}", integers, shape, ttnn.bfloat16, buffer)
            yield Contract(f"largest of {shape} from {source}", largest, (1, 1, rows, 1), buffer=buffer)
        yield Contract(f"sum {shape}", partial(add, row(width), integer_product(width)), shape, buffer=buffer)
    qkv = BitLinear("qkv", (layer.q_proj, layer.k_proj, layer.v_proj), card, plan)
    x = normalize(row(config.hidden_size), None, None)
    shape = (1, 1, rows, config.query_features + 2 * config.kv_features)
    yield Contract(f"qkv of {rows}", lambda: qkv(x).sums, shape, buffer=buffer)
    mlp = MLP(layer, card, plan)
    yield Contract(f"mlp of {rows}", lambda: mlp(x).sums, (1, 1, rows, config.hidden_size), buffer=buffer)


def _few_row_contracts(card: Card, plan: Plan, lines: int) -> Iterator[Contract]:
    """The programs for few rows. Everything lies in L1."""
    config, layer, eps = plan.config, empty_model(plan.config).layers[0], plan.config.rms_norm_eps
    norm = Norm.load(card, np.ones(config.hidden_size, np.float32), eps)
    sub_norm = Norm.load(card, np.ones(config.intermediate_size, np.float32), eps)
    token_ids = _rows(card, 1, DECODE_ROWS)
    embedding = _rows(card, config.vocab_size, config.hidden_size, ttnn.bfloat16)
    h = Strips.empty(card.device, lines, config.hidden_size, ttnn.L1_MEMORY_CONFIG, lines)
    wide = Strips.empty(card.device, lines, config.intermediate_size, ttnn.L1_MEMORY_CONFIG, lines)
    qkv = BitLinear("qkv", (layer.q_proj, layer.k_proj, layer.v_proj), card, plan)
    gate_up = BitLinear("gate_up", (layer.gate_proj, layer.up_proj), card, plan)
    down = BitLinear("down", (layer.down_proj,), card, plan)
    for name, run, features in (
        ("embedding", partial(embed, token_ids, embedding, lines, lines), config.hidden_size),
        ("qkv", partial(qkv.of_few_rows, h, norm), config.query_features + 2 * config.kv_features),
        ("qkv without a norm", partial(qkv.of_few_rows, h, None), config.query_features + 2 * config.kv_features),
        ("gate and up", partial(gate_up.of_few_rows, h, norm, activation="relu2"), config.intermediate_size),
        ("gate and up, silu", partial(gate_up.of_few_rows, h, norm, activation="silu"), config.intermediate_size),
        ("down", partial(down.of_few_rows, wide, sub_norm, residual=h), config.hidden_size),
    ):
        shape = (-(-features // STRIP), STRIP * lines)
        tensor = partial(_part, run, "tensor")
        yield Contract(f"{name} of {lines} lines", tensor, shape, buffer=ttnn.BufferType.L1)


def _part(function: Callable[[], Any], name: str) -> Any:
    return getattr(function(), name)


def _attention_contracts(card: Card, plan: Plan) -> Iterator[Contract]:
    config, blocks = plan.config, plan.context_blocks(CONTEXT)
    kv_heads, features = config.num_key_value_heads, config.query_features
    caches = (
        _empty(card, [8, kv_heads, TILE, config.head_dim], ttnn.float32),
        _empty(card, [8, kv_heads, TILE, config.head_dim], ttnn.float32),
    )
    qkv_width = features + 2 * config.kv_features
    scales, angles = _rows(card, 1, -(-qkv_width // PAGE) * PAGE, ttnn.float32), Angles.load(card, plan)
    for sequences, tokens in ((1, PREFILL_ROWS), (1, 1), (DECODE_ROWS, 1)):
        buffer = ttnn.BufferType.L1 if tokens == 1 else ttnn.BufferType.DRAM
        name, count, rows = f"of {sequences} x {tokens}", sequences * tokens, max(tokens, DECODE_ROWS)
        inputs = Inputs(*(_rows(card, 1, rows) for _ in range(3)), _rows(card, *plan.decode_table))
        integers, largest = (_empty(card, (1, 1, rows, width), ttnn.float32, buffer) for width in (qkv_width, 1))
        product = IntegerProduct(integers, largest, (1.0,) * 3)
        memory = integers.memory_config()
        q = Strips.empty(card.device, count, features, memory)
        shape = (count * -(-features // STRIP), STRIP)
        split = partial(_split, product, scales, angles, inputs, caches, plan, rows=count)
        yield Contract(f"heads {name}", split, shape, buffer=buffer)
        attend = partial(_attended, q, caches, inputs, plan, sequences=sequences, tokens=tokens, blocks=blocks)
        yield Contract(f"attention {name}", attend, shape, buffer=buffer)
        joined = partial(normalize_strips, q, rows, None, ttnn.float32)
        yield Contract(f"joined heads {name}", joined, (1, 1, rows, features), buffer=buffer)
    inputs = Inputs(*(_rows(card, 1, DECODE_ROWS) for _ in range(3)), _rows(card, *plan.decode_table))
    for lines in (1, 4, 8):
        heads = Strips.empty(card.device, lines, qkv_width, ttnn.L1_MEMORY_CONFIG, lines)
        attend = partial(
            _attended, heads, caches, inputs, plan, sequences=lines, tokens=1, blocks=blocks, angles=angles
        )
        shape = (-(-features // STRIP), STRIP * lines)
        yield Contract(f"attention of {lines} lines", attend, shape, buffer=ttnn.BufferType.L1)
    hidden, picked = (_empty(card, (1, 1, rows, config.hidden_size), ttnn.float32) for rows in (64, DECODE_ROWS))
    scattered = partial(_scattered, hidden, _rows(card, 1, 64), picked)
    yield Contract("scatter", scattered, tuple(picked.shape))


def _split(*arguments: Any, rows: int) -> Any:
    return split_heads(*arguments, rows=rows).tensor


def _attended(*arguments: Any, **options: Any) -> Any:
    return paged_attention(*arguments, **options).tensor


def _scattered(new: Any, slots: Any, cache: Any) -> Any:
    scatter_rows(new, slots, cache)
    return cache


def _placed(packed: Any, inputs: Inputs) -> Any:
    place_inputs(packed, inputs, token_ids=True)
    return inputs.table


def _advanced(inputs: Inputs, *arguments: Any) -> Any:
    advance(inputs, *arguments)
    return inputs.token_ids


def _head_contracts(card: Card, plan: Plan) -> Iterator[Contract]:
    """The lm_head, for rows in strips and for a tile of rows. All its results lie in DRAM."""
    config, streams = plan.config, plan.lm_head()
    weights = load_lm_head(card, empty_model(config).lm_head, streams)
    norm = Norm.load(card, np.ones(config.hidden_size, np.float32), config.rms_norm_eps)
    dtype = ttnn.float32 if plan.precision == "exact" else ttnn.bfloat16
    tile = _empty(card, [1, 1, DECODE_ROWS, config.hidden_size], dtype, ttnn.BufferType.L1)
    parts, tiles = plan.vocabulary_parts
    for lines in (1, 4, 8, None):
        rows = lines or DECODE_ROWS
        x = Strips.empty(card.device, rows, config.hidden_size, ttnn.L1_MEMORY_CONFIG, lines) if lines else tile
        for output in (HeadOutput(None, True), HeadOutput(1, False), HeadOutput(8, True)):
            run = partial(lm_head, x, norm if lines else None, weights, output, rows=rows, vocab_size=config.vocab_size)
            if output.whole_rows:
                yield Contract(f"logits of {rows}, {output}", partial(_item, run, 0), (rows, parts * tiles * TILE))
            if output.top_count:
                shape = (parts, rows * output.top_count * 2)
                yield Contract(f"largest of {rows}, {output}", partial(_item, run, 1), shape, ttnn.uint32)


def _item(function: Callable[[], Any], index: int) -> Any:
    return function()[index]


def _wrong_plans(card: Card, plan: Plan, rows: int) -> Iterator[str]:
    """Describe the products that do not take the L1 of the plan."""
    for product in plan.layer_products(rows):
        taken = l1_peak(card.device, plan.grid, _product(card, plan, product))
        if not 0 <= taken - product.l1_bytes < KIBIBYTE:
            yield f"{product.name} of {rows} rows takes {taken} bytes of L1, not {product.l1_bytes}"


def _product(card: Card, plan: Plan, product: Product) -> Callable[[], object]:
    x = _empty(card, [1, 1, product.rows * TILE, product.k * TILE], ttnn.bfloat16)
    weights = _empty(card, [1, 1, product.k * TILE, product.n * TILE], ttnn.bfloat4_b)
    return lambda: multiply(x, weights, product, plan.grid)


def _empty(card: Card, shape: Sequence[int], dtype: Any, buffer: Any = ttnn.BufferType.DRAM) -> Any:
    memory = ttnn.MemoryConfig(ttnn.TensorMemoryLayout.INTERLEAVED, buffer)
    return ttnn.empty(list(shape), dtype=dtype, layout=ttnn.TILE_LAYOUT, device=card.device, memory_config=memory)


def _rows(card: Card, rows: int, columns: int, dtype: Any = ttnn.uint32) -> Any:
    return ttnn.empty([rows, columns], dtype=dtype, layout=ttnn.ROW_MAJOR_LAYOUT, device=card.device)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])  # type: ignore[arg-type]
