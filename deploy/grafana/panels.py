"""The few kinds of panel that the dashboards are made of, so that all of a kind look alike.

A query names its metrics through `of`, which keeps to the instances chosen at the top of the
dashboard. What this file does not know: which metrics there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DashboardSpecialValueMapOptions,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="prometheus")
"""As provisioning/datasources names it."""

COLUMNS: Final = 24
"""Of Grafana's grid; its rows are about 38 pixels high."""

Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first from None, for everything below."""

PLAIN: Final[Steps] = ((None, "blue"),)
ALARM: Final[Steps] = ((None, "green"), (1, "red"))


_NOTHING: Final = SpecialValueMap(
    options=DashboardSpecialValueMapOptions(
        match=SpecialValueMatch.NULL_AND_NAN, result=ValueMappingResult(text="–")
    )
)
"""A share of nothing is no number: between series there is nothing to be a share of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """PromQL, and what its series are called."""

    expr: str
    legend: str = ""


def of(metric: str, *matchers: str) -> str:
    """A selector for the chosen instances, and whatever else it must match."""
    matched = ", ".join(['instance=~"$instance"', *matchers])
    return f"{metric}{{{matched}}}"


def board(title: str, uid: str, *, hours: float) -> dashboard.Dashboard:
    """An empty dashboard that shows the last `hours`, anew every 5 s, as often as is scraped."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .tags(["hitfinder"])
        .readonly()
        .refresh("5s")
        .time(f"now-{round(hours * 60)}m", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("hitfinder")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["hitfinder"])
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(
            dashboard.QueryVariable("instance")
            .label("Instance")
            .datasource(SOURCE)
            .query("label_values(hitfinder_ready, instance)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(VariableOption(selected=True, text="All", value="$__all"))
        )
    )


def number(
    title: str,
    query: Query,
    *,
    width: int,
    height: int = 5,
    unit: str = "short",
    decimals: int | None = None,
    steps: Steps = PLAIN,
    words: dict[str, str] | None = None,
    name_only: bool = False,
    graph: bool = True,
    about: str = "",
) -> stat.Panel:
    """One value, as large as its panel. `words` stand for values, by the value as text.

    With `name_only` a series shows its legend, coloured by its value.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(width)
        .height(height)
        .unit(unit)
        .thresholds(_thresholds(steps))
        .color_mode(BigValueColorMode.BACKGROUND_SOLID if name_only else BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA if graph else BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.NAME if name_only else BigValueTextMode.VALUE)
        .orientation(VizOrientation.VERTICAL if name_only else VizOrientation.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["last"]).fields("").values(False))
        .with_target(_target(query, 0, instant=name_only))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    mapped = {value: ValueMappingResult(text=text) for value, text in (words or {}).items()}
    return panel.mappings([_NOTHING, ValueMap(options=mapped)])


def lines(
    title: str,
    *queries: Query,
    width: int,
    height: int = 8,
    unit: str = "short",
    stacked: bool = False,
    log: bool = False,
    top: float | None = None,
    about: str = "",
) -> timeseries.Panel:
    """Series over time, from 0 up."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(width)
        .height(height)
        .unit(unit)
        .draw_style(GraphDrawStyle.LINE)
        .line_width(2)
        .fill_opacity(60 if stacked else 8)
        .show_points(VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if log:
        panel = panel.scale_distribution(
            common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
        )
    else:
        panel = panel.axis_soft_min(0)
    if top is not None:
        panel = panel.axis_soft_max(top)
    for index, query in enumerate(queries):
        panel = panel.with_target(_target(query, index))
    return panel


def heat(
    title: str, query: Query, *, width: int, height: int = 8, unit: str = "short", about: str = ""
) -> heatmap.Panel:
    """How a histogram's buckets fill over time."""
    return (
        heatmap.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(width)
        .height(height)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .color(heatmap.HeatmapColorOptions().scheme("Viridis").steps(64))
        .cell_gap(0)
        .show_legend()
        .with_target(_target(query, 0).format(PromQueryFormat.HEATMAP))
    )


def bars(
    title: str, query: Query, *, width: int, height: int = 8, unit: str = "short", about: str = ""
) -> bargauge.Panel:
    """A histogram's buckets now, one bar each."""
    return (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(width)
        .height(height)
        .unit(unit)
        .min(0)
        .thresholds(_thresholds(PLAIN))
        .orientation(VizOrientation.VERTICAL)
        .reduce_options(common.ReduceDataOptions().calcs(["last"]).fields("").values(False))
        .with_target(_target(query, 0).format(PromQueryFormat.HEATMAP))
    )


def states(
    title: str, query: Query, *, width: int, height: int = 8, steps: Steps = ALARM, about: str = ""
) -> statetimeline.Panel:
    """One bar a series over time, coloured by its value."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(width)
        .height(height)
        .show_value(VisibilityMode.NEVER)
        .merge_values(True)
        .thresholds(_thresholds(steps))
        .with_target(_target(query, 0))
    )


def _target(query: Query, index: int, *, instant: bool = False) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(query.expr)
        .legend_format(query.legend)
        .ref_id(chr(ord("A") + index))
    )
    return target.instant() if instant else target.range()


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in steps])
    )
