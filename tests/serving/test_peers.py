"""Who is connected, as the metric, the log and the ledger are told."""

from hitfinder.serving.metrics import Metrics
from hitfinder.serving.peers import Peers
from hitfinder.serving.reports import Reports


def test_a_refused_message_is_told_with_the_remedy_and_nobody_is_counted_twice() -> None:
    metrics, reports = Metrics(), Reports(clock=lambda: 5)
    peers = Peers("senders", metrics=metrics, reports=reports)
    peers.note("input", ["connected", "disconnected", "refused", "connected"])
    told = [(kind, text) for kind, text, _ in reports.collect()]
    assert [kind for kind, _ in told] == [
        "input connected",
        "input disconnected",
        "input refused",
        "input connected",
    ]
    assert "raise that" in told[2][1]
    assert metrics.registry.get_sample_value("hitfinder_peers", {"stream": "input"}) == 1
