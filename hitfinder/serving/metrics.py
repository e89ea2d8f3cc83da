"""Every metric of the service, defined once. docs/reference/metrics.md lists them all.

Counters of frames are read from the line's own counts when they are scraped, so that what
Prometheus sees balances like the ledger does.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hitfinder.serving.line import LineCounts
from hitfinder.transport.outlet import Offered
from hitfinder.verdict import Outcome, Reason

STAGES = ("decode_header", "queue", "read_region", "score", "publish")

_STAGE_BUCKETS_S = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
_LATENCY_BUCKETS_S = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2,
                      0.5, 1.0, 2.0, 5.0)  # fmt: skip
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32)


class LineCollector(Collector):
    """The line's counts as metrics, all from one consistent view."""

    def __init__(self, counts: Callable[[], LineCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Read the line once."""
        counts = self._counts()
        yield CounterMetricFamily(
            "hitfinder_frames_received", "Frames that arrived.", value=counts.received
        )
        judged = CounterMetricFamily(
            "hitfinder_frames_settled", "Frames by outcome.", labels=["outcome"]
        )
        by_outcome = {
            Outcome.KEPT: counts.kept,
            Outcome.VETOED: counts.vetoed,
            Outcome.UNJUDGED: sum(counts.unjudged.values()),
        }
        for outcome, value in by_outcome.items():
            judged.add_metric([outcome.value], value)
        yield judged
        unjudged = CounterMetricFamily(
            "hitfinder_frames_unjudged", "Frames that went on unjudged, by reason.",
            labels=["reason"],
        )  # fmt: skip
        for reason in Reason:
            unjudged.add_metric([reason.value], counts.unjudged.get(reason, 0))
        yield unjudged
        yield GaugeMetricFamily(
            "hitfinder_frames_in_flight", "Frames that arrived and have no outcome yet.",
            value=counts.in_flight,
        )  # fmt: skip
        yield GaugeMetricFamily(
            "hitfinder_line_bytes", "Bytes of messages between arrival and publication.",
            value=counts.bytes,
        )  # fmt: skip


class Metrics:
    """One attribute a metric, all in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.received_bytes = Counter(
            "hitfinder_received_bytes", "Bytes of messages received.", registry=registry
        )
        self.forwarded_bytes = Counter(
            "hitfinder_forwarded_bytes", "Bytes of messages sent on.", ["stream"], registry=registry
        )
        self.forwarded = Counter(
            "hitfinder_frames_forwarded", "Frames handed to a receiver.",
            ["stream"], registry=registry,
        )  # fmt: skip
        self.dropped = Counter(
            "hitfinder_frames_dropped", "Frames that no receiver took and no rule could hold.",
            ["stream"], registry=registry,
        )  # fmt: skip
        self.spilled = Counter(
            "hitfinder_frames_spilled", "Frames written to disk to be sent later.", ["stream"],
            registry=registry,
        )  # fmt: skip
        self.frames_offered = {
            Offered.SENT: self.forwarded,
            Offered.SPILLED: self.spilled,
            Offered.DROPPED: self.dropped,
        }
        self.bad_messages = Counter(
            "hitfinder_bad_messages", "Messages that broke their protocol.", ["kind"],
            registry=registry,
        )  # fmt: skip
        self.lost = Gauge(
            "hitfinder_frames_lost", "Frames lost upstream, from gaps in frame numbers. A late "
            "frame takes one back.", registry=registry,
        )  # fmt: skip
        self.duplicates = Gauge(
            "hitfinder_frames_duplicate", "Frames whose number had come before.", registry=registry
        )
        self.stage_seconds = Histogram(
            "hitfinder_stage_seconds", "Time that one frame or batch takes in each stage.",
            ["stage"], buckets=_STAGE_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.latency_seconds = Histogram(
            "hitfinder_latency_seconds", "Time from a frame's arrival to its verdict going out.",
            buckets=_LATENCY_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.batch_size = Histogram(
            "hitfinder_batch_size", "Frames judged at once.", buckets=_BATCH_BUCKETS,
            registry=registry,
        )  # fmt: skip
        self.judge_queue_bytes = Gauge(
            "hitfinder_judge_queue_bytes", "Bytes of frames that wait for the model.",
            registry=registry,
        )  # fmt: skip
        self.spill_bytes = Gauge(
            "hitfinder_spill_bytes", "Bytes on disk that wait for a receiver.", ["stream"],
            registry=registry,
        )  # fmt: skip
        self.spill_damaged = Counter(
            "hitfinder_spill_damaged", "Messages that came back from disk damaged; not sent.",
            ["stream"], registry=registry,
        )  # fmt: skip
        self.stalled = Gauge(
            "hitfinder_output_stalled", "1 while no receiver has taken messages for a second.",
            ["stream"],
            registry=registry,
        )  # fmt: skip
        self.peers = Gauge(
            "hitfinder_peers", "Connections of each socket.", ["stream"], registry=registry
        )
        self.hit_rate = Gauge(
            "hitfinder_hit_rate", "Share of kept among the last judged frames.", registry=registry
        )
        self.device = Gauge(
            "hitfinder_device", "1 for the device that judges.", ["device"], registry=registry
        )
        self.device_fallback = Gauge(
            "hitfinder_device_fallback", "1 when device = \"auto\" found no GPU that works.",
            registry=registry,
        )  # fmt: skip
        self.model = Info("hitfinder_model", "The artifact that judges.", registry=registry)
        self.model_errors = Counter(
            "hitfinder_model_errors", "Batches that the model failed on.", registry=registry
        )
        self.ledger_errors = Counter(
            "hitfinder_ledger_errors", "Writes that the ledger's disk refused.", registry=registry
        )
        self.ledger_rows_dropped = Gauge(
            "hitfinder_ledger_rows_dropped", "Frames that the ledger's memory had no room for.",
            registry=registry,
        )  # fmt: skip
        self.ready = Gauge("hitfinder_ready", "1 while /readyz answers 200.", registry=registry)
        for stage in STAGES:
            self.stage_seconds.labels(stage)

    def watch_line(self, counts: Callable[[], LineCounts]) -> None:
        """Add the line's counts."""
        self.registry.register(LineCollector(counts))
