"""A model that is measured in a moment, and the result of a benchmark."""

from __future__ import annotations

from dataclasses import replace

from bitnet_tt.bench.report.extra_results import RowsCost, Stall, Start
from bitnet_tt.bench.report.results import (
    BenchmarkResult,
    Busy,
    Memory,
    Part,
    Profile,
    Roof,
    SamplingSpeed,
    Speed,
    Spread,
)
from bitnet_tt.bench.synthetic import synthetic_config

SHAPE = "2b4t,hidden=256,intermediate=512,layers=2,heads=4,kv_heads=2,vocab=64"
CONFIG = synthetic_config(SHAPE)

ROOF = Roof(2, Spread(20.0, 19.0, 21.0), Spread(400.0, 390.0, 410.0))
PROMPT = Speed(2, 1, 50.0, 40.0, 60.0, int8_share=0.5)
STEP = Speed(
    2, 1, 10.0, 9.0, 11.0, bytes_per_step=1_000_000_000, head_rows_rescored=0.0149, bandwidth_share=0.5, int8_share=0.1
)
STEP_OF_8 = replace(STEP, batch=8, tokens_per_s=60.0, least=58.0, greatest=61.0)
PARTS = (Part("attend", 0.02, 0.01, 400_000_000), Part("logits", 0.06, 0.0, 600_000_000))
RESULT = BenchmarkResult(
    device="cpu (scalar, 2 threads)",
    prompt_length=512,
    context=128,
    new_tokens=64,
    ternary_bytes=500_000_000,
    operations_per_token=4_000_000_000,
    load_s=0.5,
    first_token_s=0.6,
    memory=Memory(1_500_000_000, 1_000_000_000, 400_000_000, 250_000_000, 90_000_000, 50_000_000),
    energy="not available: this machine shows no RAPL counters",
    roofs=(ROOF,),
    prefill=(PROMPT,),
    decode=(STEP, STEP_OF_8),
    busy=Busy(1, (replace(PROMPT, tokens_per_s=25.0),), (replace(STEP, tokens_per_s=4.0),)),
    sampling=(SamplingSpeed("greedy", 2, 8.0, 1.0, 0.001), SamplingSpeed("temperature 1", 2, 6.0, 0.75, 0.002)),
    verify_rows=tuple(
        RowsCost(2, 128, sequences, rows, 0.02 * multiple, multiple)
        for sequences, rows, multiple in ((1, 1, 1.0), (1, 2, 1.25), (1, 4, 1.5), (2, 1, 1.3), (4, 1, 1.7))
    ),
    stalls=(Stall(2, 8, 128, 512, 0.1, 0.15, 0.25, 4.0),),
    starts=(Start(2, 16, 1.5, 1.4, 1.7, 0.3, 0.8, 0.5, 0.2, 0.4),),
    profiles=(Profile("decode", 2, 1, PARTS),),
)
