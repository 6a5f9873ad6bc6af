"""Prometheus metrics of one server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from server.http.connections import Connections
    from server.inflight import Inflight
    from server.service import Service

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Telemetry:
    """Counters that the service feeds, and gauges read when somebody asks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "resight_requests", "Finished requests", ["call", "outcome"], registry=self.registry
        )
        self.seconds = Histogram(
            "resight_request_seconds", "Time to answer", ["call"], buckets=_SECONDS, registry=self.registry
        )
        self.inflight = Gauge(
            "resight_inflight_bytes", "Bytes of bodies being worked on", ["protocol"], registry=self.registry
        )
        self.connections = Gauge(
            "resight_http_connections",
            "Open HTTP connections: known once a request on them carried an accepted key",
            ["kind"],
            registry=self.registry,
        )
        self.enrolled = Counter("resight_enrolled_items", "Items committed", ["site"], registry=self.registry)

    def watch(self, service: Service) -> None:
        """Adds the gauges of a service."""
        self.registry.register(_Gauges(service))

    def watch_inflight(self, protocol: str, inflight: Inflight) -> None:
        """Adds the gauge of a protocol's bodies."""
        self.inflight.labels(protocol).set_function(lambda: inflight.bytes)

    def watch_connections(self, connections: Connections) -> None:
        """Adds the gauges of the HTTP connections."""
        self.connections.labels("stranger").set_function(lambda: len(connections.strangers))
        self.connections.labels("known").set_function(lambda: len(connections.known))

    def seconds_of(self, call: str, shares: tuple[float, ...]) -> list[float | None]:
        """In how many seconds these shares of a call's requests were answered since the start,
        interpolated in the buckets of the histogram; None where it was not called."""
        buckets: list[tuple[float, float]] = []
        for sample in next(iter(self.seconds.collect())).samples:
            if sample.name.endswith("_bucket") and sample.labels["call"] == call:
                buckets.append((float(sample.labels["le"]), sample.value))
        return [_within(buckets, share) for share in shares]

    def count_of(self, call: str) -> int:
        """How often a call was answered since the start, in whatever way."""
        samples = next(iter(self.seconds.collect())).samples
        return sum(int(s.value) for s in samples if s.name.endswith("_count") and s.labels["call"] == call)

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)


def _within(buckets: list[tuple[float, float]], share: float) -> float | None:
    """Where a share lies, of (upper bound, requests up to there); in the last bucket, which has no bound, at
    its lower end."""
    total = buckets[-1][1] if buckets else 0
    if not total:
        return None
    low, below = 0.0, 0.0
    for high, count in buckets:
        if count >= share * total:
            return (
                low
                if high == float("inf")
                else low + (high - low) * (share * total - below) / (count - below)
            )
        low, below = high, count
    return low


class _Gauges(Collector):
    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> Iterable[GaugeMetricFamily]:
        items = GaugeMetricFamily("resight_items", "Items in the live index", labels=["site"])
        versions = GaugeMetricFamily("resight_site_version", "Live version", labels=["site"])
        for site in list(self.service.sites.by_name.values()):
            state = site.state
            items.add_metric([site.name], len(state.index))
            versions.add_metric([site.name], state.version.version)
        queued = GaugeMetricFamily("resight_queued_crops", "Crops waiting for an engine")
        queued.add_metric([], self.service.engines.queued)
        unpurged = GaugeMetricFamily(
            "resight_unpurged_seconds", "How long erased bytes have waited to leave the files; 0: none wait"
        )
        unpurged.add_metric([], self.service.store.purge.waiting_s)
        return [items, versions, queued, unpurged]
