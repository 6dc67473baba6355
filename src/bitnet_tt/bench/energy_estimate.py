"""Estimate a model's energy from its shapes: the arithmetic of arXiv 2504.12285, and what that paper leaves out.

Nothing here is measured; `measure/energy.py` measures.
"""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_tt.config import ModelConfig

TOKENS = 512
"""The paper counts 512 tokens, each with 512 positions of attention. So do the other estimates."""

INT8_ADD_PJ = 0.007
"""An int8 addition at 7 nm, in pJ, as in the paper. A ternary weight needs no multiplication."""

FP16_MULTIPLY_ADD_PJ = 0.34 + 0.16
"""An FP16 multiplication and an FP16 addition at 7 nm, in pJ, as in the paper."""

DRAM_READ_PJ_PER_BIT = 1300 / 64
"""Reading a bit from DRAM, in pJ: 1.3 nJ for 64 bits.

This is the lower end of the 1.3 to 2.6 nJ in M. Horowitz, "Computing's energy problem (and what we can do about it)",
ISSCC 2014.
"""

_PICO = 1e-12
_KV_CACHE_BYTES = 4  # float32, as on the CPU


@dataclass(frozen=True, slots=True)
class EnergyEstimate:
    """Estimates for 512 tokens that are generated one by one. The names of the fields are the keys of the JSON.

    Attributes:
        ternary_joules_per_512_tokens: An int8 addition for each ternary weight.
        attention_joules_per_512_tokens: The products with keys and values in FP16, 512 positions for each token.
        paper_joules_per_512_tokens: The sum of both: the figure of the paper.
        paper_joules_per_token: The same sum, divided by 512.
        paper_fp16_joules_per_512_tokens: The same sum if all linears are in FP16.
        fp16_ratio: The sum in FP16 divided by the sum with ternary weights.
        lm_head_joules_per_512_tokens: All rows of the lm_head, in 16-bit floats unless it is ternary. Not in the paper.
        memory_joules_per_512_tokens: Reading weights, keys and values from DRAM. The paper leaves it out.
        memory_joules_per_token: The same, divided by 512.
        weight_bytes_per_token: The weights that a token reads.
        kv_cache_bytes_per_token: The keys and values that a token reads: 512 positions in float32.
        int8_add_picojoules: Energy of an int8 addition.
        fp16_multiply_add_picojoules: Energy of an FP16 multiplication and addition.
        dram_read_picojoules_per_bit: Energy of reading a bit from DRAM.
    """

    ternary_joules_per_512_tokens: float
    attention_joules_per_512_tokens: float
    paper_joules_per_512_tokens: float
    paper_joules_per_token: float
    paper_fp16_joules_per_512_tokens: float
    fp16_ratio: float
    lm_head_joules_per_512_tokens: float
    memory_joules_per_512_tokens: float
    memory_joules_per_token: float
    weight_bytes_per_token: int
    kv_cache_bytes_per_token: int
    int8_add_picojoules: float = INT8_ADD_PJ
    fp16_multiply_add_picojoules: float = FP16_MULTIPLY_ADD_PJ
    dram_read_picojoules_per_bit: float = DRAM_READ_PJ_PER_BIT


def estimate_energy(config: ModelConfig, weight_bytes: int) -> EnergyEstimate:
    """Return the estimates for a model.

    Args:
        config: The shape of the model. Norms and the embedding count as no arithmetic.
        weight_bytes: Bytes of the weights that generating a token reads.
    """
    weights = TOKENS * config.ternary_weights * _PICO
    ternary, fp16 = weights * INT8_ADD_PJ, weights * FP16_MULTIPLY_ADD_PJ
    # Each token multiplies its queries with 512 keys, and the result with 512 values.
    products = 2 * TOKENS**2 * config.query_features * config.num_hidden_layers
    attention = products * FP16_MULTIPLY_ADD_PJ * _PICO
    of_head = INT8_ADD_PJ if config.quantization.ternary_head else FP16_MULTIPLY_ADD_PJ
    lm_head = TOKENS * config.vocab_size * config.hidden_size * of_head * _PICO
    kv_cache_bytes = 2 * TOKENS * config.kv_features * config.num_hidden_layers * _KV_CACHE_BYTES
    memory = 8 * (weight_bytes + kv_cache_bytes) * DRAM_READ_PJ_PER_BIT * _PICO
    paper, paper_fp16 = ternary + attention, fp16 + attention
    return EnergyEstimate(
        ternary_joules_per_512_tokens=ternary,
        attention_joules_per_512_tokens=attention,
        paper_joules_per_512_tokens=paper,
        paper_joules_per_token=paper / TOKENS,
        paper_fp16_joules_per_512_tokens=paper_fp16,
        fp16_ratio=paper_fp16 / paper,
        lm_head_joules_per_512_tokens=lm_head,
        memory_joules_per_512_tokens=TOKENS * memory,
        memory_joules_per_token=memory,
        weight_bytes_per_token=weight_bytes,
        kv_cache_bytes_per_token=kv_cache_bytes,
    )
