"""The dashboard's charts and tables, drawn from its query results.

Charts take the available width, so they fit a phone. Their colours are distinct in light and dark mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import altair as alt
import marimo as mo
import polars as pl

from mg_lakehouse._util.escaping import for_html, for_page_cell, visible

__all__ = [
    "bounces_by_day",
    "by_day",
    "categories",
    "choices",
    "engagement",
    "funnel",
    "growth",
    "heading",
    "jobs_to_show",
    "lag",
    "received",
    "shown",
    "table",
    "tiles",
]

_HEIGHT: Final = 220
_PERCENT: Final = ".1%"
_MOST_CATEGORIES: Final = 15


def shown(rows: pl.DataFrame) -> pl.DataFrame:
    """Escape the texts of rows for a table or a chart: they show their content and fetch nothing."""
    return rows.with_columns(pl.col(pl.String).map_elements(for_page_cell, return_dtype=pl.String))


def table(rows: pl.DataFrame, **options: Any) -> Any:
    """Build a table. Its texts are wrapped, because a truncated text opens as Markdown (marimo 0.25)."""
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String]
    return mo.ui.table(shown(rows), show_column_summaries=False, show_download=False, wrapped_columns=texts, **options)


def heading(job: Mapping[str, Any]) -> str:
    """Build the head of a job's page as HTML. In Markdown, an escaped `[A/B]` begins a formula, and `::name::` is an icon."""
    about = f"{job['channel']} of {job['day']}, {job['maturity']}"
    return (
        f'<span class="markdown prose dark:prose-invert contents"><h2>{for_html(job["job"])}</h2>'
        f'<span class="paragraph">{for_html(about)} · <code>{for_html(job["request_id"])}</code></span></span>'
    )


def choices(values: Iterable[str]) -> dict[str, str]:
    """Map each choice's visible text to its value."""
    return {visible(value): value for value in values}


def jobs_to_show(jobs: pl.DataFrame) -> pl.DataFrame:
    """Build the table of jobs: a row number, the funnel, and rates in per cent."""
    rates = {"delivery_rate": "delivered %", "bounce_rate": "bounced %", "human_open_rate": "opened %", "human_click_rate": "clicked %"}
    return jobs.select(
        pl.int_range(1, pl.len() + 1).alias("#"),
        "job",
        "channel",
        "day",
        "maturity",
        "targeted",
        "accepted",
        *((pl.col(name) * 100).round(1).alias(title) for name, title in rates.items()),
        "category",
        "campaign",
    )


def tiles(daily: pl.DataFrame) -> list[dict[str, str]]:
    """Build the tiles at the top of the page: label, value, caption."""
    total: Mapping[str, int] = {name: int(daily[name].sum() or 0) for name in daily.columns if name not in ("day", "channel")}

    def share(label: str, metric: str, base: str, caption: str, *, digits: int = 1) -> dict[str, str]:
        value = f"{total[metric] / total[base]:.{digits}%}" if total[base] else "-"
        return {"label": label, "value": value, "caption": f"{total[metric]:,} {caption}"}

    return [
        {"label": "Jobs", "value": f"{total['jobs']:,}", "caption": "by channel"},
        {"label": "Targeted", "value": f"{total['targeted']:,}", "caption": f"{total['attempted']:,} attempted"},
        share("Accepted", "accepted", "attempted", "of the attempted"),
        share("Bounced for good", "hard_bounced", "attempted", "hard bounces"),
        share("Blocked", "block_bounced", "attempted", "block bounces"),
        share("Opened by people", "opened", "accepted", "of the accepted"),
        share("Clicked by people", "clicked", "accepted", "of the accepted"),
        share("Complained", "complainers", "accepted", "of the accepted", digits=2),
    ]


def by_day(daily: pl.DataFrame) -> Any:
    """Draw accepted, bounced and other messages by the day of their job."""
    outcomes = daily.with_columns(other=pl.col("targeted") - pl.col("accepted") - pl.col("bounced")).unpivot(
        ["accepted", "bounced", "other"], index=["day"], variable_name="became", value_name="messages"
    )
    summed = outcomes.group_by("day", "became").agg(pl.col("messages").sum()).sort("day", "became")
    scale = alt.Scale(domain=["accepted", "bounced", "other"], range=["#2a9d8f", "#e76f51", "#8d99ae"])
    return (
        _chart(summed)
        .mark_bar()
        .encode(
            alt.X("day:T", title=None),
            alt.Y("messages:Q", title="messages", axis=alt.Axis(format="~s")),
            alt.Color("became:N", scale=scale, title=None),
            tooltip=["day:T", "became", "messages"],
        )
    )


def funnel(job: Mapping[str, Any]) -> Any:
    """Draw a job's messages by step of the funnel."""
    steps = ["targeted", "attempted", "accepted", "opened", "clicked"]
    counts = pl.DataFrame({"step": steps, "messages": [int(job[step] or 0) for step in steps]})
    bars = _chart(counts).encode(
        alt.Y("step:N", sort=steps, title=None), alt.X("messages:Q", title=None, axis=alt.Axis(format="~s")), tooltip=["step", "messages"]
    )
    return bars.mark_bar(color="#2a9d8f").properties(height=150)


def engagement(curve: pl.DataFrame) -> Any:
    """Draw a job's openers and clickers by its age in hours."""
    long = curve.unpivot(
        ["human_opener_rate", "human_clicker_rate", "opener_rate"], index=["channel", "age_hours"], variable_name="who", value_name="share"
    )
    named = long.with_columns(
        pl.col("who").replace(
            {"human_opener_rate": "opened, people", "human_clicker_rate": "clicked, people", "opener_rate": "opened, machines too"}
        )
    )
    return (
        _chart(named)
        .mark_line(point=True)
        .encode(
            alt.X("age_hours:Q", title="hours", scale=alt.Scale(type="symlog")),
            alt.Y("share:Q", title=None, axis=alt.Axis(format=_PERCENT)),
            alt.Color("who:N", title=None),
            alt.StrokeDash("channel:N", title=None),
            tooltip=["channel", "who", "age_hours", alt.Tooltip("share:Q", format=_PERCENT)],
        )
    )


def bounces_by_day(bounces: pl.DataFrame) -> Any:
    """Draw failures by day and kind."""
    summed = bounces.group_by("day", "kind").agg(pl.col("messages").sum()).sort("day", "kind")
    return (
        _chart(summed)
        .mark_bar()
        .encode(
            alt.X("day:T", title=None),
            alt.Y("messages:Q", title="messages"),
            _kinds(bounces),
            tooltip=["day:T", "kind", "messages"],
        )
    )


def categories(bounces: pl.DataFrame) -> Any:
    """Draw the most frequent categories."""
    summed = (
        bounces.group_by("category", "kind")
        .agg(pl.col("messages").sum())
        .sort("messages", "category", descending=[True, False])
        .head(_MOST_CATEGORIES)
    )
    bars = _chart(summed).encode(
        alt.Y("category:N", sort="-x", title=None),
        alt.X("messages:Q"),
        _kinds(bounces),
        tooltip=["category", "kind", "messages"],
    )
    return bars.mark_bar().properties(height=max(60, 22 * summed["category"].n_unique()))


def _kinds(bounces: pl.DataFrame) -> Any:
    """Colour each kind of failure, the same in all charts of the same bounces. There are more kinds than the default ten colours."""
    return alt.Color("kind:N", title=None, scale=alt.Scale(domain=shown(bounces)["kind"].unique().sort().to_list(), scheme="tableau20"))


def growth(suppressed: pl.DataFrame) -> Any:
    """Draw the addresses on the suppression list, by channel."""
    return (
        _chart(suppressed)
        .mark_line(interpolate="step-after")
        .encode(
            alt.X("day:T", title=None),
            alt.Y("total:Q", title="addresses"),
            alt.Color("channel:N", title=None),
            tooltip=["day:T", "channel", "new", "total"],
        )
    )


def received(feed: pl.DataFrame) -> Any:
    """Draw the rows by hour of receipt and kind of event."""
    return (
        _chart(feed)
        .mark_bar()
        .encode(
            alt.X("hour:T", title=None),
            alt.Y("received:Q", title="events"),
            alt.Color("kind:N", title=None),
            tooltip=["hour:T", "kind", "received", "duplicates", "late"],
        )
    )


def lag(lags: pl.DataFrame) -> Any:
    """Draw the usual and the slowest lag, in minutes."""
    long = lags.unpivot(["usual_minutes", "slowest_minutes"], index=["hour"], variable_name="which", value_name="minutes")
    named = long.with_columns(pl.col("which").replace({"usual_minutes": "usual", "slowest_minutes": "slowest kind, 95 % of it"}))
    return (
        _chart(named)
        .mark_line(point=True)
        .encode(
            alt.X("hour:T", title=None),
            alt.Y("minutes:Q", title="minutes", scale=alt.Scale(type="symlog")),
            alt.Color("which:N", title=None),
            tooltip=["hour:T", "which", "minutes"],
        )
    )


def _chart(rows: pl.DataFrame) -> Any:
    # A legend beside the chart would take half of a phone's width.
    return alt.Chart(shown(rows)).properties(width="container", height=_HEIGHT).configure_legend(orient="bottom", columns=3)
