"""Measure speed and memory of a model on this machine."""

from bitnet_tt.bench.runner import BenchmarkResult, Speed, run_benchmark
from bitnet_tt.bench.synthetic import SHAPES, synthetic_weights

__all__ = ["SHAPES", "BenchmarkResult", "Speed", "run_benchmark", "synthetic_weights"]
