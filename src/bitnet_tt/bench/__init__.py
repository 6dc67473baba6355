"""Measure speed and memory of a model on this machine, beside what the machine allows."""

from bitnet_tt.bench.benchmark import run_benchmark
from bitnet_tt.bench.results import BenchmarkResult
from bitnet_tt.bench.runs import Settings

__all__ = ["BenchmarkResult", "Settings", "run_benchmark"]
