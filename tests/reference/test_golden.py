"""The reference computes the logits and the greedy tokens that Hugging Face transformers computes in float32."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_tt import reference
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.reference.compare import CLEAR_MARGIN, CONTRACT, compare_logits
from tests import golden_checkpoints as golden


@pytest.mark.parametrize("name", golden.NAMES)
def test_logits_equal_transformers(name: str) -> None:
    checkpoint, expected = Checkpoint.open(golden.FOLDER / name), golden.expected(name)
    weights = checkpoint.load_weights()
    logits = np.stack([reference.forward(checkpoint.config, weights, ids) for ids in expected["input_ids"]])
    agreement = compare_logits(logits, expected["logits"])
    assert agreement.meets(CONTRACT), agreement


@pytest.mark.parametrize("name", golden.NAMES)
def test_greedy_tokens_equal_transformers(name: str) -> None:
    """With the KV cache, one token at a time. Tokens must be equal where transformers' top-2 margin is not tiny."""
    checkpoint, expected = Checkpoint.open(golden.FOLDER / name), golden.expected(name)
    weights, cache = checkpoint.load_weights(), reference.KVCache()
    logits = reference.forward(checkpoint.config, weights, expected["greedy_prompt"].tolist(), cache)
    for token_id, margin in zip(expected["greedy_ids"], expected["greedy_margin"], strict=True):
        if margin > CLEAR_MARGIN * expected["logits"].std():
            assert logits[-1].argmax() == token_id
        logits = reference.forward(checkpoint.config, weights, [int(token_id)], cache)


def test_group_scales_equal_transformers() -> None:
    """With float activations to float32's last digits; with quantised ones within the bars."""
    expected = golden.expected(golden.BONSAI)
    checkpoint = Checkpoint.open(golden.FOLDER / golden.BONSAI)
    weights = checkpoint.load_weights()
    floats, quantised = (
        np.stack([reference.forward(checkpoint.config, weights, ids, grouped=product) for ids in expected["input_ids"]])
        for product in (reference.float_linear, reference.grouped_bitlinear)
    )
    assert compare_logits(floats, expected["logits"]).correlation > 1 - 1e-9
    agreement = compare_logits(quantised, expected["logits"])
    print(agreement)  # docs/numerics.md has it
    assert agreement.meets(CONTRACT), agreement
