"""The speed of generating one text with each kind of sampling settings."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from bitnet_tt.bench.measure.workload import Workload
from bitnet_tt.bench.report.results import SamplingSpeed, Spread
from bitnet_tt.energy import EnergyCounters, Stopwatch

SAMPLING: Mapping[str, Mapping[str, float]] = {
    "greedy": {},
    "temperature 1": {"temperature": 1.0},
    "temperature 0.8, top-p 0.95": {"temperature": 0.8, "top_p": 0.95},
    "temperature 0.8, top-k 40": {"temperature": 0.8, "top_k": 40},
    "temperature 1, min-p 0.05": {"temperature": 1.0, "min_p": 0.05},
    "greedy, repetition penalty 1.1": {"repetition_penalty": 1.1},
    "temperature 0.8, presence penalty 0.5": {"temperature": 0.8, "presence_penalty": 0.5},
    "greedy, log-probabilities": {"logprobs": 0},
}
"""Options of `GenerationConfig` by the names of the report. The first is what the others are compared with."""


def measure_sampling(work: Workload, threads: int, repeats: int) -> tuple[SamplingSpeed, ...]:
    """Return the speed with each of the settings.

    The settings take turns, so that a machine that gets slower or faster meanwhile does so for all of them.
    """
    watches = {name: Stopwatch(EnergyCounters()) for name in SAMPLING}
    rows: dict[str, list[int]] = {name: [] for name in SAMPLING}
    for seed in range(repeats):
        for name, options in SAMPLING.items():
            with work.decoding(1, seed=seed, **options) as step:
                for _ in range(work.new_tokens):
                    with watches[name].running():
                        step()
                    rows[name].append(work.logits_computed)
    rates = {name: Spread.of(1 / seconds for seconds in watch.seconds) for name, watch in watches.items()}
    first = rates[next(iter(SAMPLING))].median
    return tuple(
        SamplingSpeed(name, threads, rate.median, rate.median / first, median(rows[name]) / work.vocab_size)
        for name, rate in rates.items()
    )
