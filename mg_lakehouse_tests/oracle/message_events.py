"""One row per event of a message: what gold says of it, without its address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mg_lakehouse_tests.oracle.clients import parsed
from mg_lakehouse_tests.oracle.engagement import host_of, label_of, own_of, place_of
from mg_lakehouse_tests.oracle.events import Event, Rows

Row = dict[str, Any]


def event_rows(events: Iterable[Event], rows: Rows) -> list[Row]:
    """The events, with the link of a click from its row of silver."""
    clicks = {row["activity_id"]: row for row in rows.get("clicks", [])}
    return [_row(event, clicks.get(event.activity_id, {}) if event.kind == "click" else {}) for event in events]


def _row(event: Event, click: Row) -> Row:
    told = event.kind in ("open", "click")
    device, client, system = parsed((event.user_agent or "").strip()) if told else (None, None, None)
    own = own_of(click.get("email_address"))
    name = label_of(click.get("url_name"), own)
    return {
        "request_id": event.request_id,
        "channel": event.channel,
        "recipient_key": event.recipient_key,
        "kind": event.kind,
        "event_at": event.at,
        "event_date": event.day,
        "activity_id": event.activity_id,
        "is_human": event.human if told else None,
        "machine_reasons": list(event.reasons) if told else None,
        "device": device,
        "client": client,
        "os": system,
        "link": label_of(click.get("url_id"), own) or name or place_of(click.get("url"), own),
        "link_name": name,
        "link_host": host_of(click.get("url")),
        "is_microsite": bool(click.get("is_microsite")) if event.kind == "click" else None,
        "has_address": event.address is not None,
        "recipient_domain": _domain(event),
        "service": (event.service or "").strip().lower() or None,
        "category_key": event.category,
        "category": (event.text or "").strip(" ") or None,
        "class": event.bounce_class,
        "counts_as": event.counts_as,
        "smtp_code": event.smtp_code,
        "enhanced_status": event.enhanced_status,
    }


def _domain(event: Event) -> str | None:
    """Domain of the event's own address, where it can be read (G15)."""
    if event.channel != "email" or not event.address or "@" not in event.address:
        return None
    return event.address.rpartition("@")[2] or None
