"""Metrics for Prometheus, with the meanings that vLLM's have and our own prefix `bitnet_`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bitnet_tt.energy import EnergyCounters
from bitnet_tt.generation import Timings
from bitnet_tt.server.text_service import Load

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters and histograms of one server.

    Args:
        load: Returns the load of the engine now; called for each scrape.
        energy: The energy counters of the machine. Without any, there is no metric of energy.
    """

    def __init__(self, load: Callable[[], Load], energy: EnergyCounters) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(LoadCollector(load))
        if energy.read():
            registry.register(_EnergyCollector(energy))
        ProcessCollector(namespace="bitnet", registry=registry)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"bitnet_{name}", meaning, labels, registry=registry)

        def histogram(name: str, meaning: str) -> Histogram:
            return Histogram(f"bitnet_{name}_seconds", meaning, buckets=_SECONDS, registry=registry)

        self._http = counter("http_requests", "Requests by endpoint and status.", "endpoint", "status")
        self._finished = counter("request_success", "Generated texts by finish reason.", "finished_reason")
        self._cancelled = counter("request_cancelled", "Texts that ended early because the client left.")
        self._prompt = counter("prompt_tokens", "Tokens of the prompts of generated texts.")
        self._generated = counter("generation_tokens", "Generated tokens.")
        self._queries = counter("prefix_cache_queries", "Tokens of prompts that were looked for in the cache.")
        self._hits = counter("prefix_cache_hits", "Tokens of prompts that were found in the cache.")
        self._request = histogram(
            "e2e_request_latency", "Time of a request that generates, from its arrival to the end of its answer."
        )
        self._queue = histogram("request_queue_time", "Time that a text waits for a place in the batch.")
        self._prefill = histogram("request_prefill_time", "Time from the end of the wait to the first token.")
        self._decode = histogram("request_decode_time", "Time from the first token of a text to its last.")
        self._first_token = histogram("time_to_first_token", "Time from the arrival of a text to its first token.")
        self._inter_token = histogram("inter_token_latency", "Time between two tokens of a text.")

    def answered(self, endpoint: str, status: int, seconds: float, generates: bool) -> None:
        """Count a request that has ended. `endpoint` is the path of a route, or `other`."""
        self._http.labels(endpoint, str(status)).inc()
        if generates:
            self._request.observe(seconds)

    def generated(self, tokens: int, seconds: float | None) -> None:
        """Count tokens, at most `seconds` after those before them; None for the first of a text."""
        self._generated.inc(tokens)
        if seconds is not None:
            self._inter_token.observe(seconds)

    def finished(self, finish_reason: str, timings: Timings) -> None:
        """Count a text that was generated to its end."""
        self._finished.labels(finish_reason).inc()
        self._prompt.inc(timings.prompt_tokens)
        self._queries.inc(timings.prompt_tokens)
        self._hits.inc(timings.reused_tokens)
        self._queue.observe(timings.queue_seconds)
        self._prefill.observe(timings.first_token_seconds - timings.queue_seconds)
        self._decode.observe(timings.decode_seconds)
        self._first_token.observe(timings.first_token_seconds)

    def cancelled(self, prompt_tokens: int) -> None:
        """Count a text that ended early."""
        self._cancelled.inc()
        self._prompt.inc(prompt_tokens)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class LoadCollector(Collector):
    """The gauges of a load, which is asked for when the metrics are read."""

    def __init__(self, load: Callable[[], Load]) -> None:
        """Collect what `load` returns."""
        self._load = load

    def describe(self) -> list[Metric]:
        """Return nothing: the names are known once they are collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of this moment."""
        load = self._load()
        yield GaugeMetricFamily("bitnet_requests_running", "Texts that are computed.", load.running)
        yield GaugeMetricFamily("bitnet_requests_waiting", "Texts that wait for a place in the batch.", load.waiting)
        if not load.blocks:  # the caches are those of workers
            return
        yield GaugeMetricFamily(
            "bitnet_kv_cache_usage_ratio",
            "Part of the KV cache's blocks that running texts hold, from 0 to 1.",
            load.used_blocks / load.blocks,
        )
        yield CounterMetricFamily(
            "bitnet_preemptions",
            "How often a running text gave its part of the KV cache to others and waited again.",
            load.preemptions,
        )
        yield CounterMetricFamily(
            "bitnet_spec_decode_draft_tokens", "Tokens that speculation drafted.", load.draft_tokens
        )
        yield CounterMetricFamily(
            "bitnet_spec_decode_accepted_tokens", "Drafted tokens that were right.", load.accepted_tokens
        )


class _EnergyCollector(Collector):
    """Adds up what the energy counters show when the metrics are read."""

    def __init__(self, counters: EnergyCounters) -> None:
        self._counters = counters
        self._last = counters.read()
        self._joules = 0.0

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        now = self._counters.read()
        self._joules += self._counters.joules_between(self._last, now)
        self._last = now
        yield CounterMetricFamily(
            "bitnet_energy_joules", "Energy of all processors and their memory since the server started.", self._joules
        )
