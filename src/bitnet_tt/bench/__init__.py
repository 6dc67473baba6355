"""Measure the speed and memory of a model on this machine, and compare them with the limits of the machine."""

from bitnet_tt.bench.benchmark import run_benchmark
from bitnet_tt.bench.measure.runs import Settings
from bitnet_tt.bench.report.results import BenchmarkResult

__all__ = ["BenchmarkResult", "Settings", "run_benchmark"]
