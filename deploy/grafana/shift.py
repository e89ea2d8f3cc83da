"""The Shift dashboard: what everybody in the control room should see, readable from its far end.

Large numbers above, what is wrong in the middle, the last hour below.
"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import ALARM, COLUMNS, PLAIN, Query, board, lines, number, of, states

# Nothing firing is an answer, too: without it a panel could not tell that from no Prometheus.
FIRING = (
    "max by (alertname) (" + of("ALERTS", 'alertstate="firing"') + ")"
    ' or on () label_replace(vector(0), "alertname", "no alerts", "", "")'
)

# The second step's name is empty where there is none.
MODELS = of("hitfinder_model_info") + " or " + of("hitfinder_diffuse_model_info", 'name!=""')


def made() -> Dashboard:
    """The dashboard."""
    return _history(_wrong(_numbers(board("Shift", "hitfinder-shift", hours=1))))


def _numbers(onto: Dashboard) -> Dashboard:
    unjudged = f"sum without (reason) ({of('hitfinder:frames_unjudged:share1m')})"
    return (
        onto.with_panel(
            number(
                "Hit rate, 5 min",
                Query(expr=of("hitfinder:hit_rate:ratio5m")),
                width=8,
                height=7,
                unit="percentunit",
                decimals=1,
                about="Kept among the frames that the model judged.",
            )
        )
        .with_panel(
            number(
                "Frames/s",
                Query(expr=of("hitfinder:frames_received:rate1m")),
                width=4,
                height=7,
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Latency, 99 %",
                Query(expr=of("hitfinder:latency_seconds:p99_1m")),
                width=4,
                height=7,
                unit="s",
                about="From arrival to verdict. Beyond the deadline a frame goes on unjudged.",
            )
        )
        .with_panel(
            number(
                "Unjudged, 1 min",
                Query(expr=unjudged),
                width=4,
                height=7,
                unit="percentunit",
                decimals=1,
                steps=((None, "green"), (0.01, "orange"), (0.1, "red")),
                about="Passed on without a score; nothing is lost.",
            )
        )
        .with_panel(
            number(
                "Lost upstream",
                Query(expr=of("hitfinder_frames_lost")),
                width=4,
                height=7,
                decimals=0,
                steps=ALARM,
                about="Frames that never reached hitfinder since it started, by their numbers.",
            )
        )
    )


def _wrong(onto: Dashboard) -> Dashboard:
    return (
        onto.with_panel(
            number(
                "Alerts",
                Query(expr=FIRING, legend="{{alertname}}"),
                width=12,
                steps=ALARM,
                name_only=True,
                graph=False,
                about="What fires now. docs/how-to/watch.md says what to do.",
            )
        )
        .with_panel(
            number(
                "Service",
                Query(expr=of("up", 'job="hitfinder"')),
                width=4,
                steps=((None, "red"), (1, "green")),
                words={"0": "DOWN", "1": "running"},
                graph=False,
            )
        )
        .with_panel(
            number(
                "Series",
                Query(expr=of("hitfinder_series_under_way")),
                width=4,
                words={"0": "none", "1": "under way"},
                graph=False,
            )
        )
        .with_panel(
            number(
                "Models",
                Query(expr=MODELS, legend="{{name}} {{version}}"),
                width=4,
                steps=PLAIN,
                name_only=True,
                graph=False,
            )
        )
    )


def _history(onto: Dashboard) -> Dashboard:
    half, third = COLUMNS // 2, COLUMNS // 3
    return (
        onto.with_panel(
            lines(
                "Hit rate",
                Query(expr=of("hitfinder:hit_rate:ratio5m"), legend="5 minutes"),
                Query(expr=of("hitfinder:hit_rate:ratio1h"), legend="1 hour"),
                width=half,
                height=9,
                unit="percentunit",
            )
        )
        .with_panel(
            lines(
                "Frames/s by outcome",
                Query(expr=of("hitfinder:frames_settled:rate1m"), legend="{{outcome}}"),
                width=half,
                height=9,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Latency",
                Query(expr=of("hitfinder:latency_seconds:p99_1m"), legend="99 %"),
                Query(expr=of("hitfinder:latency_seconds:p50_1m"), legend="50 %"),
                Query(expr=of("hitfinder_deadline_seconds"), legend="deadline"),
                width=third,
                unit="s",
                log=True,
            )
        )
        .with_panel(
            lines(
                "Lost and dropped",
                Query(expr=of("hitfinder_frames_lost"), legend="lost upstream"),
                Query(expr=of("hitfinder_frames_dropped_total"), legend="dropped, {{stream}}"),
                width=third,
            )
        )
        .with_panel(
            states("Alerts", Query(expr=FIRING, legend="{{alertname}}"), width=third),
        )
    )
