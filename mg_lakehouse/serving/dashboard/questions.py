"""What the dashboard asks the lake: SQL over the catalogue's views, each answer small whatever the lake holds.

Answers are Polars frames. A lake that lacks a table of gold has no answer: :class:`NotBuiltError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.lake.duck import text, text_list
from mg_lakehouse.serving.sandbox.sandbox import AdHoc, QueryError

__all__ = [
    "Choice",
    "NotBuiltError",
    "Wanted",
    "bounces",
    "choices",
    "curve",
    "daily",
    "errors",
    "feed",
    "jobs",
    "lags",
    "links",
    "providers",
    "rejected",
    "suppressed",
    "suppressed_by_reason",
]

_MOST_JOBS: Final = 500
_MOST_LINKS: Final = 50
_NAMED_TYPES: Final = 8
_HOURS: Final = 72


class NotBuiltError(PermanentError):
    """Gold was never built, or not the table that is asked for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What there is to choose from: the days of jobs, their categories and campaigns, in order; ``None`` for a lake without jobs."""

    first: date | None
    last: date | None
    categories: tuple[str, ...]
    campaigns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked at: jobs of some days in the business time zone, and of some categories or campaigns where any are named."""

    first: date
    last: date
    categories: Sequence[str] = ()
    campaigns: Sequence[str] = ()

    @property
    def condition(self) -> str:
        """SQL of the jobs, over columns of ``dim_jobs``."""
        parts = [f"job_date_local between date '{self.first}' and date '{self.last}'"]
        if self.categories:
            parts.append(f"list_contains({text_list(self.categories)}, job_category)")
        if self.campaigns:
            parts.append(f"list_contains({text_list(self.campaigns)}, campaign_id)")
        return " and ".join(parts)


def _answer(asked: AdHoc, sql: str) -> pl.DataFrame:
    try:
        return pl.DataFrame(asked.rows(sql).read_all())
    except QueryError as error:
        if "does not exist" in str(error):
            raise NotBuiltError("Gold was not built yet: run `mg-lakehouse run`, or try `mg-lakehouse demo`.") from None
        raise


def choices(asked: AdHoc) -> Choice:
    """What there is to choose from.

    Raises:
        NotBuiltError: there is no gold.
    """
    found = _answer(
        asked,
        "select min(job_date_local) as first, max(job_date_local) as last, "
        "list_sort(list(distinct job_category) filter (where job_category is not null)) as categories, "
        "list_sort(list(distinct campaign_id) filter (where campaign_id is not null)) as campaigns from gold.dim_jobs",
    ).row(0, named=True)
    return Choice(found["first"], found["last"], tuple(found["categories"] or ()), tuple(found["campaigns"] or ()))


def jobs(asked: AdHoc, wanted: Wanted) -> pl.DataFrame:
    """The newest jobs with funnel and rates, by job and channel."""
    return _answer(
        asked,
        "select coalesce(correlation_id, request_id) as job, channel, job_date_local as day, maturity, job_category as category, campaign_id as campaign, "
        "targeted, attempted, accepted, bounced, unique_human_openers as opened, unique_human_clickers as clicked, unsubscribers, complainers, "
        "delivery_rate, bounce_rate, human_open_rate, human_click_rate, request_id "
        f"from gold.dim_jobs inner join gold.job_metrics using (request_id, maturity) where {wanted.condition} "
        f"order by coalesce(last_send_at, last_event_at) desc, request_id, channel limit {_MOST_JOBS}",
    )


def daily(asked: AdHoc, wanted: Wanted) -> pl.DataFrame:
    """Sums of all jobs of a day: ``day``, ``channel`` and the funnel."""
    return _answer(
        asked,
        "select job_date_local as day, channel, count(*) as jobs, "
        + ", ".join(
            f"cast(sum({name}) as bigint) as {name}"
            for name in ("targeted", "attempted", "accepted", "bounced", "hard_bounced", "block_bounced", "complainers")
        )
        + ", cast(sum(unique_human_openers) as bigint) as opened, cast(sum(unique_human_clickers) as bigint) as clicked "
        f"from gold.dim_jobs inner join gold.job_metrics using (request_id) where {wanted.condition} group by all order by all",
    )


def curve(asked: AdHoc, request_id: str) -> pl.DataFrame:
    """A job's openers and clickers by age, as far as it has come."""
    return _answer(
        asked,
        "select channel, age_hours, human_opener_rate, human_clicker_rate, opener_rate from gold.engagement_curve "
        f"where request_id = {text(request_id)} and complete_at <= now() order by channel, age_hours",
    )


def bounces(asked: AdHoc, wanted: Wanted, request_id: str | None = None) -> pl.DataFrame:
    """Failures by day, class and category: of all jobs wanted, or of one."""
    jobs_of = (
        f"request_id = {text(request_id)}"
        if request_id
        else f"request_id in (select request_id from gold.dim_jobs where {wanted.condition})"
    )
    return _answer(
        asked,
        "select event_date as day, coalesce(class, counts_as) as kind, coalesce(received_category, category_key) as category, cast(sum(messages) as bigint) as messages "
        f"from gold.bounce_days where {jobs_of} and messages > 0 and counts_as is not null group by all order by all",
    )


def providers(asked: AdHoc, request_id: str) -> pl.DataFrame:
    """A job's e-mail by mailbox provider."""
    names = ("attempted", "accepted", "bounced", "unique_human_openers", "unique_human_clickers", "complainers")
    sums = ", ".join(f"cast(sum({name}) as bigint) as {name}" for name in names)
    return _answer(
        asked,
        f"select mailbox_provider, {sums}, safe_rate(sum(accepted), sum(attempted)) as delivery_rate from gold.domain_days "
        f"where request_id = {text(request_id)} group by all order by attempted desc",
    )


def links(asked: AdHoc, request_id: str) -> pl.DataFrame:
    """A job's links by people who clicked them."""
    return _answer(
        asked,
        "select click_position, coalesce(link_name, link) as link, link_host, unique_human_clickers, click_events, click_share_rate from gold.link_metrics "
        f"where request_id = {text(request_id)} order by unique_human_clickers desc, click_position limit {_MOST_LINKS}",
    )


def errors(asked: AdHoc, request_id: str) -> pl.DataFrame:
    """Errors of the job and of rendering, by code. Silver has codes as they came, with addresses in some: only those that gold shows are told apart."""
    of_job = f"request_id = {text(request_id)}"
    return _answer(
        asked,
        " union all ".join(
            f"select '{kind}' as kind, coalesce(known.error_code, if(trim(each.error_code) <> '', '(other)', '(none)')) as code, count(*) as events "
            f"from silver.{table} cross join unnest(errors) as one(each) "
            f"left join (select distinct error_code from gold.{table}) as known on known.error_code = trim(each.error_code) where {of_job} group by all"
            for kind, table in (("job", "job_errors"), ("rendering", "render_errors"))
        ),
    )


def suppressed(asked: AdHoc) -> pl.DataFrame:
    """How the suppression list grew: ``day``, ``channel``, addresses that are new on it, and all until then."""
    return _answer(
        asked,
        "select day, channel, new, cast(sum(new) over (partition by channel order by day) as bigint) as total from ("
        "select cast(first_evidence_at as date) as day, channel, count(*) as new from gold.suppression_list group by all) order by all",
    )


def suppressed_by_reason(asked: AdHoc) -> pl.DataFrame:
    """Addresses of the suppression list by channel and reason; one with two reasons counts for both."""
    return _answer(
        asked,
        "select channel, reason, count(*) as addresses from gold.suppression_list cross join unnest(reasons) as each(reason) group by all order by addresses desc",
    )


def feed(asked: AdHoc) -> pl.DataFrame:
    """Rows by hour of receipt and kind of event, of the newest hours; the kinds beyond the most frequent are ``other``."""
    return _answer(
        asked,
        f"with newest as (select * from gold.feed_health_hourly where received_hour > (select max(received_hour) from gold.feed_health_hourly) - interval {_HOURS} hours), "
        f"most as (select event_type from newest group by all order by sum(received_rows) desc limit {_NAMED_TYPES}) "
        "select received_hour as hour, case when event_type in (from most) then event_type else 'other' end as kind, "
        "cast(sum(received_rows) as bigint) as received, cast(sum(duplicates) as bigint) as duplicates, cast(sum(late_rows) as bigint) as late from newest group by all order by all",
    )


def lags(asked: AdHoc) -> pl.DataFrame:
    """Between an event and its receipt, in minutes, by hour of receipt: the median kind's median, and the slowest kind's 95th percentile."""
    return _answer(
        asked,
        "select received_hour as hour, median(lag_seconds_p50) / 60 as usual_minutes, max(lag_seconds_p95) / 60 as slowest_minutes from gold.feed_health_hourly "
        f"where event_type <> 'rejected_items' and received_hour > (select max(received_hour) from gold.feed_health_hourly) - interval {_HOURS} hours group by all order by all",
    )


def rejected(asked: AdHoc) -> pl.DataFrame:
    """What could not be read, by reason."""
    return _answer(
        asked, "select reason, count(*) as items, max(received_at) as newest from silver.rejected_items group by all order by items desc"
    )
