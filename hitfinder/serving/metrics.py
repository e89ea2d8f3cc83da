"""Every metric of the service, defined once. docs/reference/metrics.md lists them all.

Counters of frames are read from the line's own counts when they are scraped, so that what
Prometheus sees balances like the ledger does. What can be asked for at a scrape (how full a queue
is, how old the ledger's last write) is, and costs a frame nothing. A label whose values are known
beforehand has all of them from the start: the first increase of a counter that appears together
with it is invisible to Prometheus.
"""

from collections.abc import Callable, Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hitfinder.errors import BAD_MESSAGE_KINDS
from hitfinder.inference.batcher import BATCH_SIZES
from hitfinder.serving.line import DiffuseCounts, LineCounts
from hitfinder.transport.outlet import Offered
from hitfinder.verdict import Diffuse, Outcome, Reason

STAGES = (
    *("decode_header", "queue", "read_region", "score", "publish"),
    *("diffuse_queue", "diffuse_read", "diffuse_score"),
)
QUEUES = ("line", "judge")

_STAGE_BUCKETS_S = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
_LATENCY_BUCKETS_S = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0),  # up to the longest deadline that can be set
)
_SCORE_BUCKETS = (
    *(0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
    *(0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0),
)


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
        settled = CounterMetricFamily(
            "hitfinder_frames_settled", "Frames by outcome.", labels=["outcome"]
        )
        by_outcome = {
            Outcome.KEPT: counts.kept,
            Outcome.VETOED: counts.vetoed,
            Outcome.UNJUDGED: sum(counts.unjudged.values()),
        }
        for outcome, value in by_outcome.items():
            settled.add_metric([outcome.value], value)
        yield settled
        unjudged = CounterMetricFamily(
            "hitfinder_frames_unjudged",
            "Frames that went on unjudged, by reason.",
            labels=["reason"],
        )
        for reason in Reason:
            unjudged.add_metric([reason.value], counts.unjudged.get(reason, 0))
        yield unjudged
        yield GaugeMetricFamily(
            "hitfinder_frames_in_flight",
            "Frames that arrived and have no outcome yet.",
            value=counts.in_flight,
        )
        yield GaugeMetricFamily(
            "hitfinder_line_bytes",
            "Bytes of messages between arrival and publication.",
            value=counts.bytes,
        )
        yield from _of_second_step(counts.diffuse)


def _of_second_step(counts: DiffuseCounts) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "hitfinder_diffuse_frames_offered",
        "Hits that were the second step's to judge.",
        value=counts.offered,
    )
    settled = CounterMetricFamily(
        "hitfinder_diffuse_frames_settled",
        "Hits by what the second step says of them.",
        labels=["diffuse"],
    )
    by_finding = {
        Diffuse.YES: counts.yes,
        Diffuse.NO: counts.no,
        Diffuse.UNJUDGED: sum(counts.unjudged.values()),
    }
    for finding, value in by_finding.items():
        settled.add_metric([finding.value], value)
    yield settled
    unjudged = CounterMetricFamily(
        "hitfinder_diffuse_frames_unjudged",
        "Hits that went on without a diffuse score, by reason.",
        labels=["reason"],
    )
    for reason in Reason:
        unjudged.add_metric([reason.value], counts.unjudged.get(reason, 0))
    yield unjudged
    yield GaugeMetricFamily(
        "hitfinder_diffuse_frames_waiting",
        "Hits whose verdict waits for the second step.",
        value=counts.waiting,
    )


class Metrics:
    """One attribute a metric, all in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        per_stream = ["stream"]
        self.received_bytes = counter("hitfinder_received_bytes", "Bytes of messages received.")
        self.forwarded_bytes = counter(
            "hitfinder_forwarded_bytes", "Bytes of messages sent on.", per_stream
        )
        self.forwarded = counter(
            "hitfinder_frames_forwarded", "Frames handed to a receiver.", per_stream
        )
        self.dropped = counter(
            "hitfinder_frames_dropped",
            "Frames that no receiver took and no rule could hold.",
            per_stream,
        )
        self.spilled = counter(
            "hitfinder_frames_spilled", "Frames written to disk to be sent later.", per_stream
        )
        self.frames_offered = {
            Offered.SENT: self.forwarded,
            Offered.SPILLED: self.spilled,
            Offered.DROPPED: self.dropped,
        }
        self.bad_messages = counter(
            "hitfinder_bad_messages", "Messages that broke their protocol.", ["kind"]
        )
        self.lost = gauge(
            "hitfinder_frames_lost",
            "Frames lost upstream, from gaps in frame numbers. A late frame takes one back.",
        )
        self.duplicates = gauge(
            "hitfinder_frames_duplicate", "Frames whose number had come before."
        )
        self.stage_seconds = histogram(
            "hitfinder_stage_seconds",
            "Time that one frame or batch takes in each stage.",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
        )
        self.latency_seconds = histogram(
            "hitfinder_latency_seconds",
            "Time from a frame's arrival to its verdict going out.",
            buckets=_LATENCY_BUCKETS_S,
        )
        self.batch_size = histogram(
            "hitfinder_batch_size", "Frames judged at once.", buckets=BATCH_SIZES
        )
        self.deadline_seconds = gauge(
            "hitfinder_deadline_seconds", "The deadline that frames are judged within, as set."
        )
        self.score = histogram(
            "hitfinder_score", "Scores that the model gave.", buckets=_SCORE_BUCKETS
        )
        self.threshold = gauge("hitfinder_threshold", "Score from which a frame is kept.")
        self.judge_queue_bytes = gauge(
            "hitfinder_judge_queue_bytes", "Bytes of frames that wait for the model."
        )
        self.queue_fill = gauge(
            "hitfinder_queue_fill",
            "How full a queue is, 0 to 1, by whichever of its bounds is nearer.",
            ["queue"],
        )
        self.series_under_way = gauge(
            "hitfinder_series_under_way",
            "1 from a frame until its series ends; for ever where senders tell no end.",
        )
        self.spill_bytes = gauge(
            "hitfinder_spill_bytes", "Bytes on disk that wait for a receiver.", per_stream
        )
        self.spill_damaged = counter(
            "hitfinder_spill_damaged",
            "Messages that came back from disk damaged; not sent.",
            per_stream,
        )
        self.stalled = gauge(
            "hitfinder_output_stalled",
            "1 while no receiver has taken messages for a second.",
            per_stream,
        )
        self.peers = gauge("hitfinder_peers", "Connections of each socket.", per_stream)
        self.hit_rate = gauge("hitfinder_hit_rate", "Share of kept among the last judged frames.")
        self.device = gauge("hitfinder_device", "1 for the device that judges.", ["device"])
        self.device_fallback = gauge(
            "hitfinder_device_fallback",
            '1 when device = "auto" found no GPU that works, or lost the one that it had.',
        )
        self.model = Info("hitfinder_model", "The artifact that judges.", registry=self.registry)
        self.model_errors = counter("hitfinder_model_errors", "Batches that the model failed on.")
        self.diffuse_model = Info(
            "hitfinder_diffuse_model",
            "The artifact of the second step.",
            registry=self.registry,
        )
        self.diffuse_model_errors = counter(
            "hitfinder_diffuse_model_errors", "Hits that the second step's model failed on."
        )
        self.diffuse_scores = histogram(
            "hitfinder_diffuse_score",
            "Scores that the second step gave in time.",
            buckets=_SCORE_BUCKETS,
        )
        self.diffuse_queue_bytes = gauge(
            "hitfinder_diffuse_queue_bytes", "Bytes of hits that wait for the second step's model."
        )
        self.hot_pixels = gauge(
            "hitfinder_hot_pixels", "Pixels of the region that stand out in most frames."
        )
        self.hot_pixel_looks = counter(
            "hitfinder_hot_pixel_looks", "Frames that were looked at for hot pixels."
        )
        self.hot_pixel_changes = counter(
            "hitfinder_hot_pixel_changes", "Times that the set of hot pixels changed."
        )
        self.hot_pixel_errors = counter(
            "hitfinder_hot_pixel_errors", "Failures in learning or saving hot pixels."
        )
        self.ledger_errors = counter(
            "hitfinder_ledger_errors", "Writes that the ledger's disk refused."
        )
        self.ledger_age_seconds = gauge(
            "hitfinder_ledger_age_seconds",
            "Time since the ledger last took a write; under a second while all is well.",
        )
        self.ledger_rows_dropped = gauge(
            "hitfinder_ledger_rows_dropped", "Frames that the ledger's memory had no room for."
        )
        self.ready = gauge("hitfinder_ready", "1 while /readyz answers 200.")
        for stage in STAGES:
            self.stage_seconds.labels(stage)
        for kind in BAD_MESSAGE_KINDS:
            self.bad_messages.labels(kind)
        for queue in QUEUES:
            self.queue_fill.labels(queue)

    def watch_line(self, counts: Callable[[], LineCounts]) -> None:
        """Add the line's counts."""
        self.registry.register(LineCollector(counts))
