"""The plan of two cards that share every matrix: exchanges cost time, long contexts win it back, memory is halved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitnet_tt.backends.tt.planning.chain_cost import chain_cost
from bitnet_tt.backends.tt.planning.launches import decode_launches, trace_region_bytes
from bitnet_tt.backends.tt.planning.memory import kv_cache_bytes, weight_bytes
from bitnet_tt.backends.tt.planning.shares import share_matrices
from bitnet_tt.backends.tt.planning.tensor_cost import compare_batches, tensor_cost
from tests.backends.tt.planning.plans import CONFIG_2B4T, PLAN_2B4T

LAYERS = CONFIG_2B4T.num_hidden_layers


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_a_layer_has_four_exchanges_and_the_lm_head_one(batch: int) -> None:
    cost = tensor_cost(PLAN_2B4T, batch, 1024)
    assert cost.exchanges == 4 * LAYERS + 1
    more = 4 * LAYERS + 1 + (LAYERS if batch > 8 else 0)  # of many rows, the gate is a program apart
    assert cost.launches == 2 * (decode_launches(PLAN_2B4T, batch) + more)
    assert cost.range_seconds[0] < cost.seconds < cost.range_seconds[1]


def test_a_row_passes_in_packets_of_its_strips() -> None:
    """Of 2B4T the first card sends 6 strips of attention, 5 of o, 14 of the gated row, 5 of down, and logits."""
    logits = 64 * replace(PLAN_2B4T, columns=share_matrices(CONFIG_2B4T, 2)[0].columns).vocabulary_parts[0]
    assert tensor_cost(PLAN_2B4T, 1, 1024).exchange_bytes == LAYERS * 30 * 1024 + logits


def test_it_loses_for_short_texts_and_wins_for_a_single_long_one() -> None:
    short, long = (
        {one.batch: one for one in compare_batches(replace(PLAN_2B4T, context_length=length), length)}
        for length in (128, 4096)
    )
    assert all(one.fastest != "tensor_parallel" for one in short.values())
    assert long[1].fastest == "tensor_parallel"
    assert long[32].fastest == "copies"
    assert long[1].tensor_parallel == tensor_cost(replace(PLAN_2B4T, context_length=4096), 1, 4096).tokens_per_second
    assert long[1].chain == chain_cost(replace(PLAN_2B4T, context_length=4096), 2, 1, 4096).tokens_per_second


def test_weights_and_cache_are_halved_but_not_the_embedding() -> None:
    shares = share_matrices(CONFIG_2B4T, 2)
    embedding = CONFIG_2B4T.vocab_size * CONFIG_2B4T.hidden_size * 2
    alone = weight_bytes(PLAN_2B4T) - embedding
    for share in shares:
        assert 0.45 * alone < weight_bytes(PLAN_2B4T, share) - embedding < 0.6 * alone
    assert sum(kv_cache_bytes(PLAN_2B4T, 100, share) for share in shares) == kv_cache_bytes(PLAN_2B4T, 100)


def test_traces_are_longer() -> None:
    assert trace_region_bytes(CONFIG_2B4T, tensor_parallel=True) > trace_region_bytes(CONFIG_2B4T)
