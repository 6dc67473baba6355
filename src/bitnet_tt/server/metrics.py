"""Metrics for Prometheus, with the meanings that vLLM's have and our own prefix `bitnet_`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bitnet_tt.generation import Timings
from bitnet_tt.server.generation_service import Load

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters and histograms of one server.

    Args:
        load: Returns the load of the engine now; called for each scrape.
    """

    def __init__(self, load: Callable[[], Load]) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_LoadCollector(load))
        self._http = Counter(
            "bitnet_http_requests", "Requests by endpoint and status.", ["endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "bitnet_e2e_request_latency_seconds",
            "Time of a request that generates, from its arrival to the end of its answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._finished = Counter(
            "bitnet_request_success", "Generated texts by finish reason.", ["finished_reason"], registry=registry
        )
        self._cancelled = Counter(
            "bitnet_request_cancelled", "Texts that ended early because the client left.", registry=registry
        )
        self._prompt = Counter("bitnet_prompt_tokens", "Tokens of prompts.", registry=registry)
        self._generated = Counter("bitnet_generation_tokens", "Generated tokens.", registry=registry)
        self._queries = Counter(
            "bitnet_prefix_cache_queries", "Tokens of prompts that were looked for in the cache.", registry=registry
        )
        self._hits = Counter(
            "bitnet_prefix_cache_hits", "Tokens of prompts that were found in the cache.", registry=registry
        )
        self._first_token = Histogram(
            "bitnet_time_to_first_token_seconds",
            "Time from the arrival of a text at the engine to its first token.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._inter_token = Histogram(
            "bitnet_inter_token_latency_seconds",
            "Mean time between two tokens of a text.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._decode = Histogram(
            "bitnet_request_decode_time_seconds",
            "Time from the first token of a text to its last.",
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, endpoint: str, status: int, seconds: float, generates: bool) -> None:
        """Count a request that has ended. `endpoint` is the path of a route, or `other`."""
        self._http.labels(endpoint, str(status)).inc()
        if generates:
            self._seconds.observe(seconds)

    def finished(self, finish_reason: str, tokens: int, timings: Timings) -> None:
        """Count a text that was generated to its end, whose client got `tokens` tokens."""
        self._finished.labels(finish_reason).inc()
        self._prompt.inc(timings.prompt_tokens)
        self._queries.inc(timings.prompt_tokens)
        self._hits.inc(timings.reused_tokens)
        self._generated.inc(tokens)
        self._first_token.observe(timings.first_token_seconds)
        self._decode.observe(timings.decode_seconds)
        if timings.generated_tokens > 1:
            self._inter_token.observe(timings.decode_seconds / (timings.generated_tokens - 1))

    def cancelled(self, prompt_tokens: int, tokens: int) -> None:
        """Count a text that ended early, after `tokens` tokens."""
        self._cancelled.inc()
        self._prompt.inc(prompt_tokens)
        self._generated.inc(tokens)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format. It may wait for the end of a step."""
        return generate_latest(self._registry)


class _LoadCollector(Collector):
    """Asks for the load when the metrics are read."""

    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        load = self._load()
        yield GaugeMetricFamily("bitnet_requests_running", "Texts that are computed.", load.running)
        yield GaugeMetricFamily("bitnet_requests_waiting", "Texts that wait for a place in the batch.", load.waiting)
        yield GaugeMetricFamily(
            "bitnet_kv_cache_usage_ratio",
            "Part of the KV cache's blocks that running texts hold, from 0 to 1.",
            load.used_blocks / load.blocks,
        )
