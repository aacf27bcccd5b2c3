"""One row per message: what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from mg_lakehouse_tests.oracle.events import Event, MessageKey
from mg_lakehouse_tests.oracle.seeds import Seeds

Row = dict[str, Any]

_SEVERITY = {"hard": 4, "soft": 2, "block": 3, "undetermined": 1}
_ATTEMPTS = ("delivery", "bounce", "deferral")
_SENDS = (*_ATTEMPTS, "suppression", "rejection", "render_error")
_ENGAGEMENT = ("open", "click", "complaint", "unsubscribe")


def fct_messages(events: Iterable[Event], seeds: Seeds) -> list[Row]:
    """The messages of the events."""
    by_message: dict[MessageKey, list[Event]] = defaultdict(list)
    for event in events:
        by_message[event.message].append(event)
    return [_message(key, group, seeds) for key, group in by_message.items()]


def _message(key: MessageKey, events: list[Event], seeds: Seeds) -> Row:
    request_id, channel, recipient_key = key
    times: dict[str, list[datetime]] = defaultdict(list)
    for event in events:
        times[event.kind].append(event.at)
        if event.kind in ("open", "click") and event.human:
            times[f"human_{event.kind}"].append(event.at)
        if event.kind in _ATTEMPTS:
            times["attempt"].append(event.at)
    outcome, deciding = _outcome(events)
    domain = _domain(channel, events)
    first_delivered = _first(times["delivery"])
    return {
        "request_id": request_id,
        "channel": channel,
        "recipient_key": recipient_key,
        "outcome": outcome,
        "is_accepted": outcome in ("delivered", "implied_delivery"),
        "bounce_category_key": deciding.category if deciding else None,
        "bounce_class": deciding.bounce_class if deciding else None,
        "bounce_counts_as": deciding.counts_as if deciding else None,
        "bounced_at": deciding.at if deciding else None,
        "smtp_code": deciding.smtp_code if deciding else None,
        "enhanced_status": deciding.enhanced_status if deciding else None,
        "recipient_domain": domain,
        "mailbox_provider": _provider(channel, domain, events, seeds),
        "first_event_at": min(event.at for event in events),
        "last_event_at": max(event.at for event in events),
        "first_attempted_at": _first(times["attempt"]),
        "first_delivered_at": first_delivered,
        "last_delivered_at": _last(times["delivery"]),
        "first_bounced_at": _first(times["bounce"]),
        "last_bounced_at": _last(times["bounce"]),
        "first_deferred_at": _first(times["deferral"]),
        "render_failed_at": _first(times["render_error"]),
        "first_opened_at": _first(times["open"]),
        "last_opened_at": _last(times["open"]),
        "first_human_opened_at": _first(times["human_open"]),
        "first_clicked_at": _first(times["click"]),
        "last_clicked_at": _last(times["click"]),
        "first_human_clicked_at": _first(times["human_click"]),
        "unsubscribed_at": _first(times["unsubscribe"]),
        "complained_at": _first(times["complaint"]),
        "seconds_to_first_open": _seconds(first_delivered, _first(times["open"])),
        "seconds_to_first_click": _seconds(first_delivered, _first(times["click"])),
        "delivery_events": len(times["delivery"]),
        "bounce_events": len(times["bounce"]),
        "deferral_events": len(times["deferral"]),
        "suppression_events": len(times["suppression"]),
        "rejection_events": len(times["rejection"]),
        "render_error_events": len(times["render_error"]),
        "open_events": len(times["open"]),
        "human_open_events": len(times["human_open"]),
        "click_events": len(times["click"]),
        "human_click_events": len(times["human_click"]),
        "unsubscribe_events": len(times["unsubscribe"]),
        "complaint_events": len(times["complaint"]),
        "machine_reasons": sorted({reason for event in events for reason in event.reasons}),
        "machine_rules_version": 1,
        "attempt_dates": _days(events, _ATTEMPTS),
        "send_dates": _days(events, _SENDS),
    }


def _outcome(events: list[Event]) -> tuple[str, Event | None]:
    """The outcome, first match wins, and the failure that decided it."""
    of: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        of[event.kind].append(event)
    delivered_at = max((event.at for event in of["delivery"]), default=None)
    later = [event for event in of["bounce"] if delivered_at is not None and event.at > delivered_at]
    cases: list[tuple[bool, str, Event | None]] = [
        (bool(later), "bounced_after_delivery", _worst(later)),
        (delivered_at is not None, "delivered", None),
        (bool(of["bounce"]), "bounced", _worst(of["bounce"])),
        (any(of[kind] for kind in _ENGAGEMENT), "implied_delivery", None),
        (bool(of["suppression"]), "suppressed", _latest(of["suppression"])),
        (bool(of["rejection"]), "rejected", _latest(of["rejection"])),
        (bool(of["render_error"]), "render_failed", None),
        (bool(of["deferral"]), "deferred", _latest(of["deferral"])),
    ]
    return next((outcome, deciding) for holds, outcome, deciding in cases if holds)


def _worst(bounces: list[Event]) -> Event | None:
    """The most severe, then the latest, then that of the greatest activity id (G5)."""
    return max(bounces, key=lambda event: (_SEVERITY[str(event.counts_as)], *event.order), default=None)


def _latest(failures: list[Event]) -> Event | None:
    return max(failures, key=lambda event: event.order, default=None)


def _domain(channel: str, events: list[Event]) -> str | None:
    """Domain of the earliest event's address that has one, where it can be read (G15)."""
    addressed = [event for event in events if event.address]
    if channel != "email" or not addressed:
        return None
    address = str(min(addressed, key=lambda event: event.order).address)
    return (address.rpartition("@")[2] or None) if "@" in address else None


def _provider(channel: str, domain: str | None, events: list[Event], seeds: Seeds) -> str:
    if channel == "sms":
        return "sms"
    if channel == "push":
        served = [event for event in events if event.service]
        return str(min(served, key=lambda event: event.order).service).lower() if served else "unknown"
    return "unknown" if domain is None else seeds.providers.get(domain, "other")


def _first(times: list[datetime]) -> datetime | None:
    return min(times, default=None)


def _last(times: list[datetime]) -> datetime | None:
    return max(times, default=None)


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    """From the first delivery to the first event of a kind, never below 0 (G12)."""
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())


def _days(events: list[Event], kinds: tuple[str, ...]) -> list[date]:
    return sorted({event.day for event in events if event.kind in kinds})
