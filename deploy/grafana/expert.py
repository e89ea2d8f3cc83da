"""The Expert dashboard: where the time goes, what waits, what the model says, on which device."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.panels import (
    ALARM,
    COLUMNS,
    Query,
    bars,
    board,
    heat,
    lines,
    number,
    of,
)

HALF, THIRD, SIXTH = COLUMNS // 2, COLUMNS // 3, COLUMNS // 6


def rate(metric: str, window: str = "1m") -> str:
    """How fast a counter of the chosen instances rises."""
    return f"rate({of(metric)}[{window}])"


def buckets(metric: str, window: str = "1m") -> str:
    """A histogram's buckets over all chosen instances, in events a second."""
    return f"sum by (le) ({rate(f'{metric}_bucket', window)})"


def mean(metric: str) -> str:
    """The mean of what a histogram saw in the last minute."""
    total, count = rate(f"{metric}_sum"), rate(f"{metric}_count")
    return f"{total} / {count}"


def made() -> Dashboard:
    """The dashboard."""
    onto = board("Expert", "hitfinder-expert", hours=1)
    for add in (_stream, _stages, _queues, _scores, _second_step, _record):
        onto = add(onto)
    return onto


def _stream(onto: Dashboard) -> Dashboard:
    return (
        onto.with_row(Row("Stream"))
        .with_panel(
            lines(
                "Bytes/s",
                Query(expr=rate("hitfinder_received_bytes_total"), legend="received"),
                Query(expr=rate("hitfinder_forwarded_bytes_total"), legend="sent, {{stream}}"),
                width=THIRD,
                unit="Bps",
            )
        )
        .with_panel(
            lines(
                "Frames/s by output",
                Query(expr=rate("hitfinder_frames_forwarded_total"), legend="sent, {{stream}}"),
                Query(expr=rate("hitfinder_frames_spilled_total"), legend="spilled, {{stream}}"),
                Query(expr=rate("hitfinder_frames_dropped_total"), legend="dropped, {{stream}}"),
                width=THIRD,
            )
        )
        .with_panel(
            lines(
                "Connections, stalls",
                Query(expr=of("hitfinder_peers"), legend="peers, {{stream}}"),
                Query(expr=of("hitfinder_output_stalled"), legend="stalled, {{stream}}"),
                width=SIXTH,
            )
        )
        .with_panel(
            lines(
                "Bad messages/s",
                Query(expr=rate("hitfinder_bad_messages_total"), legend="{{kind}}"),
                Query(expr=of("hitfinder_frames_duplicate"), legend="duplicates, all"),
                width=SIXTH,
            )
        )
    )


def _stages(onto: Dashboard) -> Dashboard:
    return (
        onto.with_row(Row("Stages"))
        .with_panel(
            lines(
                "Stages, 99 %",
                Query(expr=of("hitfinder:stage_seconds:p99_1m"), legend="{{stage}}"),
                width=THIRD,
                unit="s",
                log=True,
                about="decode_header, queue and publish: a frame; read_region and score: a batch.",
            )
        )
        .with_panel(
            lines(
                "Stages, mean",
                Query(expr=mean("hitfinder_stage_seconds"), legend="{{stage}}"),
                width=THIRD,
                unit="s",
                log=True,
            )
        )
        .with_panel(
            heat(
                "Latency",
                Query(expr=buckets("hitfinder_latency_seconds"), legend="{{le}}"),
                width=THIRD,
                unit="s",
            )
        )
    )


def _queues(onto: Dashboard) -> Dashboard:
    return (
        onto.with_row(Row("Queues and batches"))
        .with_panel(
            lines(
                "How full",
                Query(expr=of("hitfinder_queue_fill"), legend="{{queue}}"),
                width=SIXTH,
                unit="percentunit",
                top=1,
                about="line: all messages between arrival and publication; judge: what waits for "
                "the model, in bytes or in time, whichever is nearer its bound.",
            )
        )
        .with_panel(
            lines(
                "Held",
                Query(expr=of("hitfinder_line_bytes"), legend="line"),
                Query(expr=of("hitfinder_judge_queue_bytes"), legend="judge"),
                Query(expr=of("hitfinder_spill_bytes"), legend="on disk, {{stream}}"),
                width=SIXTH,
                unit="bytes",
            )
        )
        .with_panel(
            lines(
                "Frames in flight",
                Query(expr=of("hitfinder_frames_in_flight")),
                width=SIXTH,
            )
        )
        .with_panel(
            lines(
                "Unjudged/s by reason",
                Query(expr=rate("hitfinder_frames_unjudged_total"), legend="{{reason}}"),
                width=SIXTH,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Frames in a batch",
                Query(expr=mean("hitfinder_batch_size"), legend="mean"),
                width=SIXTH,
            )
        )
        .with_panel(
            heat(
                "Batches by size",
                Query(expr=buckets("hitfinder_batch_size"), legend="{{le}}"),
                width=SIXTH,
            )
        )
    )


def _scores(onto: Dashboard) -> Dashboard:
    return (
        onto.with_row(Row("Scores"))
        .with_panel(
            heat(
                "Scores",
                Query(expr=buckets("hitfinder_score", "5m"), legend="{{le}}"),
                width=HALF,
                about="Of every judged frame. A good model leaves little between the ends.",
            )
        )
        .with_panel(
            bars(
                "Scores, frames/s by bucket",
                Query(expr=buckets("hitfinder_score", "5m"), legend="{{le}}"),
                width=THIRD,
            )
        )
        .with_panel(
            number(
                "Threshold",
                Query(expr=of("hitfinder_threshold")),
                width=SIXTH,
                height=8,
                decimals=3,
                graph=False,
                about="Score from which a frame is kept.",
            )
        )
    )


def _second_step(onto: Dashboard) -> Dashboard:
    return (
        onto.with_row(Row("Second step: diffuse scattering"))
        .with_panel(
            lines(
                "Hits/s by what is found",
                Query(expr=rate("hitfinder_diffuse_frames_settled_total"), legend="{{diffuse}}"),
                width=THIRD,
                stacked=True,
                about="All zero without a section [diffuse].",
            )
        )
        .with_panel(
            lines(
                "Without a diffuse score/s, by reason",
                Query(expr=rate("hitfinder_diffuse_frames_unjudged_total"), legend="{{reason}}"),
                Query(expr=rate("hitfinder_diffuse_model_errors_total"), legend="model errors"),
                width=THIRD,
            )
        )
        .with_panel(
            lines(
                "Hits waiting",
                Query(expr=of("hitfinder_diffuse_frames_waiting")),
                width=SIXTH,
            )
        )
        .with_panel(
            heat(
                "Diffuse scores",
                Query(expr=buckets("hitfinder_diffuse_score", "5m"), legend="{{le}}"),
                width=SIXTH,
            )
        )
    )


def _record(onto: Dashboard) -> Dashboard:
    return (
        onto.with_row(Row("Device, ledger, pixels"))
        .with_panel(
            number(
                "Device",
                Query(expr=of("hitfinder_device"), legend="{{device}}"),
                width=SIXTH,
                name_only=True,
                graph=False,
            )
        )
        .with_panel(
            number(
                "Fell back to the CPU",
                Query(expr=of("hitfinder_device_fallback")),
                width=SIXTH,
                steps=ALARM,
                words={"0": "no", "1": "yes"},
                graph=False,
            )
        )
        .with_panel(
            number(
                "Model errors",
                Query(expr=of("hitfinder_model_errors_total")),
                width=SIXTH,
                steps=ALARM,
            )
        )
        .with_panel(
            number(
                "Ledger's last write",
                Query(expr=of("hitfinder_ledger_age_seconds")),
                width=SIXTH,
                unit="s",
                decimals=1,
                steps=((None, "green"), (10, "red")),
            )
        )
        .with_panel(
            lines(
                "Ledger's errors, rows dropped",
                Query(expr=rate("hitfinder_ledger_errors_total"), legend="errors/s"),
                Query(expr=of("hitfinder_ledger_rows_dropped"), legend="rows dropped"),
                width=SIXTH,
                height=5,
            )
        )
        .with_panel(
            lines(
                "Hot pixels",
                Query(expr=of("hitfinder_hot_pixels"), legend="pixels"),
                Query(expr=of("hitfinder_hot_pixel_changes_total"), legend="changes"),
                Query(expr=of("hitfinder_hot_pixel_errors_total"), legend="errors"),
                width=SIXTH,
                height=5,
            )
        )
    )
