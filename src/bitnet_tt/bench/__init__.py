"""Measure speed and memory of a model on this machine."""

from bitnet_tt.bench.runner import BenchmarkResult, Speed, run_benchmark

__all__ = ["BenchmarkResult", "Speed", "run_benchmark"]
