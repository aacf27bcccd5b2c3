"""What mail is opened and clicked with (G45 to G48), by ua-parser's own pure Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from functools import cache
from typing import Any

from ua_parser import Domain, Parser
from ua_parser.basic import Resolver
from ua_parser.loaders import load_builtins

from mg_lakehouse_tests.oracle.events import Event

Row = dict[str, Any]

_PROXIES = {"GmailImageProxy": "GoogleImageProxy", "YahooMailProxy": "YahooMailProxy"}
_SCANNERS = ("barracuda", "proofpoint", "mimecast", "symantec", "urldefense", "safelinks")
_SYSTEMS = {"iOS": "mobile", "Android": "mobile", "Windows": "desktop", "Mac OS X": "desktop", "Linux": "desktop"}


def client_days(events: Iterable[Event]) -> list[Row]:
    """Opens and clicks by job, day of the event, channel and what it came from."""
    return [{"request_id": key[0]} | row for key, row in _grouped(events, lambda event: (event.request_id, event.day)).items()]


def client_metrics_daily(events: Iterable[Event]) -> list[Row]:
    """Opens and clicks by day of the event, channel and what it came from, with their shares of the day."""
    rows = list(_grouped(events, lambda event: (None, event.day)).values())
    days: dict[tuple[date, str], list[Row]] = defaultdict(list)
    for row in rows:
        days[row["event_date"], row["channel"]].append(row)
    for of_day in days.values():
        opens, clicks = (sum(row[name] for row in of_day) for name in ("open_events", "click_events"))
        for row in of_day:
            row["share_of_opens"] = row["open_events"] / opens if opens else None
            row["share_of_clicks"] = row["click_events"] / clicks if clicks else None
    return rows


def _grouped(events: Iterable[Event], place: Any) -> dict[tuple[Any, ...], Row]:
    groups: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    for event in events:
        if event.kind in {"open", "click"}:
            groups[(*place(event), event.channel, *parsed((event.user_agent or "").strip()))].append(event)
    names = ("event_date", "channel", "device", "client", "os")
    return {key: dict(zip(names, key[1:], strict=True)) | _counts(group) for key, group in groups.items()}


def _counts(group: list[Event]) -> Row:
    opens, clicks = ([event for event in group if event.kind == kind] for kind in ("open", "click"))
    return {
        "open_events": len(opens),
        "human_open_events": sum(event.human for event in opens),
        "click_events": len(clicks),
        "human_click_events": sum(event.human for event in clicks),
    }


@cache
def _parser() -> Parser:
    return Parser(Resolver(load_builtins()))


@cache
def parsed(text: str) -> tuple[str, str, str]:
    """Device, client and system of the user agents that the feeds have."""
    if text == "Mozilla/5.0":
        return "prefetch", "Apple Mail prefetch", "unknown"
    found = _parser()(text, Domain.ALL)
    client = found.user_agent.family if found.user_agent else "unknown"
    system = found.os.family if found.os else "unknown"
    if client in _PROXIES:
        return "image_proxy", _PROXIES[client], "unknown"
    if any(name in text.lower() for name in _SCANNERS) or (found.device and found.device.family == "Spider"):
        return "bot", client, system
    if found.device and found.device.family == "iPad":
        return "tablet", client, system
    return _SYSTEMS.get(system, "unknown"), client, system
