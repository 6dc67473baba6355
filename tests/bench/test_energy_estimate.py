"""The estimates reproduce all six energies that 2B4T's authors published, from the public configs of the models."""

from __future__ import annotations

import pytest

from bitnet_tt.bench.energy_estimate import EnergyEstimate, estimate_energy
from bitnet_tt.bench.report.published import published_figures
from bitnet_tt.bench.synthetic import synthetic_config
from bitnet_tt.config import ModelConfig

FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
# The sizes of each model in its config.json, in the order of FIELDS. N, the weights of all its linears: no embedding,
# no lm_head, no norms, no biases. The joules that the formula gives for 512 tokens.
MODELS = {
    "BitNet b1.58 2B4T": ((2560, 6912, 30, 20, 5, 128), 2_084_044_800, 0.0276),
    "Llama-3.2-1B": ((2048, 8192, 16, 32, 8, 64), 973_078_528, 0.2577),
    "Gemma-3-1B": ((1152, 6912, 26, 4, 1, 256), 697_761_792, 0.1856),
    "Qwen2.5-1.5B": ((1536, 8960, 28, 12, 2, 128), 1_310_195_712, 0.3467),
    "SmolLM2-1.7B": ((2048, 8192, 24, 32, 32, 64), 1_610_612_736, 0.4252),
    "MiniCPM-2B": ((2304, 5760, 40, 36, 36, 64), 2_441_871_360, 0.6493),
}
PUBLISHED = {one.model: one.arithmetic_joules_per_512_tokens for one in published_figures(synthetic_config("2b4t"))}


def config_of(model: str) -> ModelConfig:
    """Return a config of a model's sizes. The rest of it is Llama's, and counts nothing here."""
    sizes = dict(zip(FIELDS, MODELS[model][0], strict=True))
    return ModelConfig.from_dict({"model_type": "llama", "vocab_size": 1000, "max_position_embeddings": 512} | sizes)


def test_the_published_figures_are_those_of_six_models() -> None:
    assert set(PUBLISHED) == set(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_the_formula_gives_the_published_energy(model: str) -> None:
    _, weights, expected = MODELS[model]
    config = config_of(model)
    assert config.ternary_weights == weights
    estimate = estimate_energy(config, weight_bytes=0)
    joules = estimate.paper_joules_per_512_tokens if "BitNet" in model else estimate.paper_fp16_joules_per_512_tokens
    assert round(joules, 3) == PUBLISHED[model]
    assert round(joules, 4) == expected


def estimate_2b4t() -> EnergyEstimate:
    return estimate_energy(synthetic_config("2b4t"), weight_bytes=1_000_000_000)


def test_the_sum_is_that_of_its_parts() -> None:
    estimate = estimate_2b4t()
    parts = estimate.ternary_joules_per_512_tokens + estimate.attention_joules_per_512_tokens
    assert estimate.paper_joules_per_512_tokens == parts
    assert estimate.paper_joules_per_token == pytest.approx(0.0276 / 512, rel=1e-3)
    assert estimate.fp16_ratio == pytest.approx(0.5537 / 0.0276, rel=1e-3)
    fp16_linears = estimate.paper_fp16_joules_per_512_tokens - estimate.attention_joules_per_512_tokens
    assert fp16_linears / estimate.ternary_joules_per_512_tokens == pytest.approx(71.4, rel=1e-3)


def test_the_lm_head_and_memory_are_beside_the_sum() -> None:
    estimate = estimate_2b4t()
    assert estimate.lm_head_joules_per_512_tokens == pytest.approx(512 * 128256 * 2560 * 0.5e-12)
    assert estimate.kv_cache_bytes_per_token == 2 * 5 * 128 * 30 * 512 * 4
    assert estimate.dram_read_picojoules_per_bit == 20.3125
    bits = 8 * (1_000_000_000 + estimate.kv_cache_bytes_per_token)
    assert estimate.memory_joules_per_token == pytest.approx(bits * 1.3e-9 / 64)
    assert estimate.memory_joules_per_512_tokens == pytest.approx(512 * estimate.memory_joules_per_token)


def test_a_ternary_lm_head_costs_int8_additions() -> None:
    estimate = estimate_energy(synthetic_config("bonsai-8b"), weight_bytes=0)
    assert estimate.lm_head_joules_per_512_tokens == pytest.approx(512 * 151669 * 4096 * 0.007e-12)
