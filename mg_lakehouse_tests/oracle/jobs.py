"""The job-level tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from mg_lakehouse_tests.oracle.events import MESSAGE_TABLES, SENDS, Event, Rows, real_id
from mg_lakehouse_tests.oracle.seeds import ATTEMPTED, Seeds

Row = dict[str, Any]

_TYPES = {
    "b": "bulk_job",
    "t": "transactional_job",
    "d": "bulk_campaign",
    "c": "transactional_campaign",
    "k": "external_job",
    "m": "preview",
    "a": "account_activity",
    "s": "account_summary",
}
_REQUEST_ID = re.compile(r"(?:\d+-)?([a-z])\d+-.+")
_IDENTIFIERS = ("account_id", "correlation_id", "job_category", "campaign_id", "campaign_version")
_FAILED = ("bounced_after_delivery", "bounced", "suppressed", "rejected", "deferred")


def _is_told(name: str, value: str | None) -> bool:
    """Whether an event has an identifier. A job's own id of the sender's may be what stands where there is none (G70)."""
    return value is not None and (name != "correlation_id" or real_id(value) is not None)


def channel_of(table: str) -> str | None:
    """Channel that a table is evidence of."""
    if table not in MESSAGE_TABLES:
        return None
    return "sms" if table.startswith("sms_") else "push" if table.startswith("mobile_push_") else "email"


def dim_jobs(rows: Rows, *, as_of: datetime, zone: str) -> list[Row]:
    """Every request id that any event has."""
    by_job: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for table, found in rows.items():
        for row in found:
            if row["request_id"] is not None:
                by_job[row["request_id"]].append((table, row))
    return [_job(request_id, found, as_of=as_of, zone=ZoneInfo(zone)) for request_id, found in by_job.items()]


def _job(request_id: str, found: list[tuple[str, Row]], *, as_of: datetime, zone: ZoneInfo) -> Row:
    times = [row["event_at"] for _, row in found]
    sends = [row["event_at"] for table, row in found if table in SENDS]
    ordered = sorted((row for _, row in found), key=lambda row: (row["event_at"], row["activity_id"]))
    identifiers = {name: next((row[name] for row in ordered if _is_told(name, row[name])), None) for name in _IDENTIFIERS}
    begin = min(sends) if sends else min(times)
    letter = _REQUEST_ID.fullmatch(request_id)
    return {
        "request_id": request_id,
        **identifiers,
        "request_type": _TYPES.get(letter[1], "other") if letter else "other",
        "channels": sorted({channel for table, _ in found if (channel := channel_of(table))}),
        "job_date": begin.astimezone(UTC).date(),
        "job_date_local": begin.astimezone(zone).date(),
        "job_date_source": "send" if sends else "first_event",
        "first_send_at": min(sends, default=None),
        "last_send_at": max(sends, default=None),
        "first_event_at": min(times),
        "last_event_at": max(times),
        "maturity": _maturity(as_of - (max(sends) if sends else min(times))),
    }


def _maturity(age: timedelta) -> str:
    """Maturity by the time since the last send evidence (G9)."""
    if age < timedelta(hours=1):
        return "sending"
    if age < timedelta(hours=72):
        return "settling"
    return "engaging" if age < timedelta(days=30) else "final"


def ratio(numerator: int, denominator: int) -> float | None:
    """A rate: null where there is nothing to divide by."""
    return numerator / denominator if denominator else None


def percentile(values: list[float], share: float) -> float | None:
    """Percentile with linear interpolation between the two nearest values."""
    if not values:
        return None
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def job_metrics(messages: Iterable[Row], jobs: Iterable[Row], rows: Rows, seeds: Seeds) -> list[Row]:
    """Counts and rates of each job and channel; a job of errors only has one row with channel ``none``."""
    of_job = {job["request_id"]: job for job in jobs}
    errors: dict[str, int] = defaultdict(int)
    for row in rows.get("job_errors", []):
        if row["request_id"] is not None:
            errors[row["request_id"]] += 1
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for message in messages:
        if message["request_id"] is not None:
            groups[message["request_id"], message["channel"]].append(message)
    with_messages = {request_id for request_id, _ in groups}
    for request_id in errors:
        if request_id not in with_messages:
            groups[request_id, "none"] = []
    return [_metrics(of_job[request_id], channel, group, errors[request_id], seeds) for (request_id, channel), group in groups.items()]


def _metrics(job: Row, channel: str, messages: list[Row], job_errors: int, seeds: Seeds) -> Row:
    counts = message_counts(messages, seeds) | {"job_errors": job_errors}
    del counts["human_engaged"]
    return {
        "request_id": job["request_id"],
        "channel": channel,
        "job_date": job["job_date"],
        "maturity": job["maturity"],
        **counts,
        **message_rates(message_counts(messages, seeds)),
        "settled_bounce_rate": _settled_bounce_rate(counts, job["maturity"]),
        **_times(messages),
    }


def message_counts(messages: list[Row], seeds: Seeds) -> dict[str, int]:
    """Every count of messages, and the events that go with them (G7)."""

    def outcomes(*names: str) -> int:
        return sum(message["outcome"] in names for message in messages)

    def bounced_as(name: str) -> int:
        bounced = [message for message in messages if message["outcome"] in ("bounced", "bounced_after_delivery")]
        return sum(message["bounce_counts_as"] == name for message in bounced)

    accepted = [message for message in messages if message["is_accepted"]]
    reporting = [message for message in accepted if message["mailbox_provider"] in seeds.reporting]
    sums = {name: sum(message[name] for message in messages) for name in ("open_events", "click_events")}
    return {
        "targeted": len(messages),
        "attempted": len(accepted) + outcomes("bounced", "bounced_after_delivery", "deferred"),
        "accepted": len(accepted),
        "delivered": outcomes("delivered", "bounced_after_delivery"),
        "implied_delivered": outcomes("implied_delivery"),
        "bounced": outcomes("bounced", "bounced_after_delivery"),
        "bounced_inband": outcomes("bounced"),
        "bounced_outofband": outcomes("bounced_after_delivery"),
        "hard_bounced": bounced_as("hard"),
        "soft_bounced": bounced_as("soft"),
        "block_bounced": bounced_as("block"),
        "undetermined_bounced": bounced_as("undetermined"),
        "deferred": outcomes("deferred"),
        "suppressed": outcomes("suppressed"),
        "rejected": outcomes("rejected"),
        "render_failed": outcomes("render_failed"),
        "unique_openers": sum(message["open_events"] > 0 for message in accepted),
        "unique_human_openers": sum(message["human_open_events"] > 0 for message in accepted),
        "machine_only_openers": sum(message["open_events"] > 0 and message["human_open_events"] == 0 for message in accepted),
        "open_events": sums["open_events"],
        "unique_clickers": sum(message["click_events"] > 0 for message in accepted),
        "unique_human_clickers": sum(message["human_click_events"] > 0 for message in accepted),
        "click_events": sums["click_events"],
        "human_engaged": sum(message["human_open_events"] > 0 or message["human_click_events"] > 0 for message in accepted),
        "unsubscribers": sum(message["unsubscribe_events"] > 0 for message in accepted),
        "complainers": sum(message["complaint_events"] > 0 for message in accepted),
        "accepted_fbl": len(reporting),
        "complainers_fbl": sum(message["complaint_events"] > 0 for message in reporting),
    }


def _settled_bounce_rate(counts: dict[str, int], maturity: str) -> float | None:
    return ratio(counts["bounced"] + counts["deferred"], counts["attempted"]) if maturity in ("engaging", "final") else None


def message_rates(counts: dict[str, int]) -> dict[str, float | None]:
    """The rates of those counts."""
    n = counts
    return {
        "delivery_rate": ratio(n["accepted"], n["attempted"]),
        "bounce_rate": ratio(n["bounced"], n["attempted"]),
        "hard_bounce_rate": ratio(n["hard_bounced"], n["attempted"]),
        "soft_bounce_rate": ratio(n["soft_bounced"], n["attempted"]),
        "block_bounce_rate": ratio(n["block_bounced"], n["attempted"]),
        "undetermined_bounce_rate": ratio(n["undetermined_bounced"], n["attempted"]),
        "outofband_rate": ratio(n["bounced_outofband"], n["delivered"]),
        "suppression_rate": ratio(n["suppressed"], n["targeted"]),
        "render_error_rate": ratio(n["render_failed"], n["targeted"]),
        "open_rate": ratio(n["unique_openers"], n["accepted"]),
        "click_rate": ratio(n["unique_clickers"], n["accepted"]),
        "human_open_rate": ratio(n["unique_human_openers"], n["accepted"]),
        "human_click_rate": ratio(n["unique_human_clickers"], n["accepted"]),
        "click_to_open_rate": ratio(n["unique_human_clickers"], n["human_engaged"]),
        "unsubscribe_rate": ratio(n["unsubscribers"], n["accepted"]),
        "complaint_rate": ratio(n["complainers"], n["accepted"]),
        "complaint_rate_fbl": ratio(n["complainers_fbl"], n["accepted_fbl"]),
    }


def _times(messages: list[Row]) -> dict[str, float | None]:
    accepted = [message for message in messages if message["is_accepted"]]
    opens = [message["seconds_to_first_open"] for message in accepted if message["seconds_to_first_open"] is not None]
    clicks = [message["seconds_to_first_click"] for message in accepted if message["seconds_to_first_click"] is not None]
    delivered = [message for message in messages if message["first_delivered_at"] is not None]
    duration = None
    if delivered:
        last = max(message["last_delivered_at"] for message in delivered)
        duration = (last - min(message["first_delivered_at"] for message in delivered)).total_seconds()
    return {
        "seconds_to_open_p50": percentile(opens, 0.5),
        "seconds_to_open_p90": percentile(opens, 0.9),
        "seconds_to_click_p50": percentile(clicks, 0.5),
        "seconds_to_click_p90": percentile(clicks, 0.9),
        "send_duration_seconds": duration,
    }


_DAILY_EVENTS = (
    "delivery",
    "bounce",
    "deferral",
    "suppression",
    "rejection",
    "render_error",
    "open",
    "human_open",
    "click",
    "human_click",
    "unsubscribe",
    "complaint",
)


def job_metrics_daily(events: Iterable[Event], messages: Iterable[Row], *, zone: str) -> list[Row]:
    """Events of each day in UTC and in the business zone (G17), and messages on those of their first event of each kind (G16)."""
    found: dict[tuple[str | None, str, date, date], dict[str, int]] = {}
    local = ZoneInfo(zone)

    def add(request_id: str | None, channel: str, at: datetime, name: str) -> None:
        empty = dict.fromkeys([f"{kind}_events" for kind in _DAILY_EVENTS] + [name for name, _, _ in _FIRSTS], 0)
        found.setdefault((request_id, channel, at.date(), at.astimezone(local).date()), empty)[name] += 1

    for event in events:
        add(event.request_id, event.channel, event.at, f"{event.kind}_events")
        if event.kind in ("open", "click") and event.human:
            add(event.request_id, event.channel, event.at, f"human_{event.kind}_events")
    for message in messages:
        for name, column, outcomes in _FIRSTS:
            if message["outcome"] in outcomes and message[column] is not None:
                add(message["request_id"], message["channel"], message[column], name)
    names = ("request_id", "channel", "event_date", "event_date_local")
    return [dict(zip(names, key, strict=True)) | counts for key, counts in found.items()]


_ACCEPTED = ("delivered", "implied_delivery")
# Count, the time whose day it is counted on, the outcomes it is counted for.
_FIRSTS = (
    ("first_delivered", "first_delivered_at", ("delivered", "bounced_after_delivery")),
    ("first_bounced", "bounced_at", ("bounced", "bounced_after_delivery")),
    ("first_opens", "first_opened_at", _ACCEPTED),
    ("first_human_opens", "first_human_opened_at", _ACCEPTED),
    ("first_clicks", "first_clicked_at", _ACCEPTED),
    ("first_human_clicks", "first_human_clicked_at", _ACCEPTED),
    ("first_unsubscribes", "unsubscribed_at", _ACCEPTED),
    ("first_complaints", "complained_at", _ACCEPTED),
)


def job_bounce_categories(events: Iterable[Event], messages: Iterable[Row], metrics: Iterable[Row], seeds: Seeds) -> list[Row]:
    """Failures of each job and channel by category key."""
    of_job = {(row["request_id"], row["channel"]): row for row in metrics}
    failures: dict[tuple[str, str, str], list[Event]] = defaultdict(list)
    for event in events:
        if event.category is not None and event.request_id is not None:
            failures[event.request_id, event.channel, event.category].append(event)
    decided: dict[tuple[str, str, str], int] = defaultdict(int)
    failed: dict[tuple[str, str], int] = defaultdict(int)
    for message in messages:
        if message["request_id"] is not None and message["outcome"] in _FAILED:
            decided[message["request_id"], message["channel"], message["bounce_category_key"]] += 1
            failed[message["request_id"], message["channel"]] += 1
    found = []
    for (request_id, channel, key), group in failures.items():
        counts_as = seeds.counts_as(channel, key)
        of = of_job[request_id, channel]
        number = decided[request_id, channel, key]
        found.append(
            {
                "request_id": request_id,
                "channel": channel,
                "category_key": key,
                "category": category_name(channel, key, group, seeds),
                "class": seeds.class_of(channel, key),
                "counts_as": counts_as,
                "messages": number,
                "events": len(group),
                "share_of_failures": ratio(number, failed[request_id, channel]),
                "rate": ratio(number, of["attempted"] if counts_as in ATTEMPTED else of["targeted"]),
                "first_seen_at": min(event.at for event in group),
                "last_seen_at": max(event.at for event in group),
            }
        )
    return found


def category_name(channel: str, key: str, failures: list[Event], seeds: Seeds) -> str:
    """The seed's name of a category, else the text received (of several the first in the order of their characters), else the key (G3)."""
    if (channel, key) in seeds.categories:
        return str(seeds.categories[channel, key]["category"])
    texts = [event.text.strip() for event in failures if event.text and event.text.strip()]
    return min(texts, default=key)
