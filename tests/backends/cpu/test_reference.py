"""The backend agrees with the NumPy reference within the bars of the numerics contract."""

from dataclasses import replace

import numpy as np
import pytest

from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.reference import KVCache, forward
from bitnet_tt.reference.compare import CONTRACT, compare_logits
from tests.backends.cpu.random_models import BITNET, CONFIGS, LLAMA, batch_of, logits_of, random_model

SHAPES = {
    **CONFIGS,
    "wide": replace(BITNET, hidden_size=640, num_attention_heads=5, num_key_value_heads=1, head_dim=128),
    "head of 2": replace(LLAMA, num_attention_heads=12, num_key_value_heads=4, head_dim=2),
    "head of 66": replace(LLAMA, num_attention_heads=2, num_key_value_heads=2, head_dim=66),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_prompt_agrees(name, seed):
    config = SHAPES[name]
    weights = random_model(config, seed)
    prompt = np.random.default_rng(seed).integers(0, config.vocab_size, 50)
    agreement = compare_logits(logits_of(CPUBackend(config, weights), prompt), forward(config, weights, prompt))
    assert agreement.meets(CONTRACT), agreement


def test_decoding_token_by_token_agrees():
    weights = random_model(BITNET)
    prompt = np.random.default_rng(4).integers(0, BITNET.vocab_size, 24)
    backend, cache = CPUBackend(BITNET, weights, threads=2), KVCache()
    backend.allocate(3, 16)
    ours, reference = [], []
    for position, token in enumerate(prompt):
        ours.append(backend.forward(batch_of([([token], position, range(3))]))[0].copy())
        reference.append(forward(BITNET, weights, [token], cache)[0])
    agreement = compare_logits(np.array(ours), np.array(reference))
    assert agreement.meets(CONTRACT), agreement
