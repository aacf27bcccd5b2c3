"""How messages are opened and clicked: by age, and link by link (G40 to G42)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from mg_lakehouse_tests.oracle.events import Event, MessageKey, compared
from mg_lakehouse_tests.oracle.jobs import ratio

Row = dict[str, Any]

_AGES = (1, 2, 3, 6, 12, 24, 48, 72, 168, 336, 720)
_KINDS = {
    "opener": "first_opened_at",
    "human_opener": "first_human_opened_at",
    "clicker": "first_clicked_at",
    "human_clicker": "first_human_clicked_at",
}
_ACCEPTED = ("delivered", "implied_delivery")


def engagement_curve(messages: Iterable[Row]) -> list[Row]:
    """Messages opened and clicked by each age since their own delivery."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for message in messages:
        if message["request_id"] is not None and message["outcome"] in _ACCEPTED and message["first_delivered_at"] is not None:
            groups[message["request_id"], message["channel"]].append(message)
    return [_point(*key, group, age) for key, group in groups.items() for age in _AGES]


def _point(request_id: str, channel: str, group: list[Row], age: int) -> Row:
    row: Row = {
        "request_id": request_id,
        "channel": channel,
        "age_hours": age,
        "aged_messages": len(group),
        "complete_at": max(message["first_delivered_at"] for message in group) + timedelta(hours=age),
    }
    for name, column in _KINDS.items():
        by_then = [
            message
            for message in group
            if message[column] is not None and message[column] - message["first_delivered_at"] <= timedelta(hours=age)
        ]
        row |= {f"{name}s": len(by_then), f"{name}_rate": ratio(len(by_then), len(group))}
    return row


def host_of(url: str | None) -> str | None:
    """Host of an address, in lower case: what stands behind the last ``@`` of its authority."""
    found = re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)", url or "")
    host = re.match(r"([^:\s]+)(:\d*)?(\s|$)", found[1].rpartition("@")[2]) if found else None
    return host[1].lower() if host else None


def own_of(address: str | None) -> str:
    """What of a person's address may stand in a link (G42)."""
    return (compared("email", address) or "").split("@", maxsplit=1)[0].split("+", maxsplit=1)[0]


def _decoded(text: str) -> str:
    return unquote(unquote(text)).lower()


def label_of(text: str | None, own: str) -> str | None:
    """An id or a name as the template gave it: nothing where it gave none, or where it holds an address or a person's part of one (G42)."""
    label = (text or "").strip()
    written = re.search(r"[@\uff20]|%(25)*40|&(amp;)*(commat|#0*64|#x0*40);|[(\[]at[)\]]", label, re.IGNORECASE)
    told = own and re.search("[^a-z]", own) and own in _decoded(label)
    return None if label in ("", "-1") or written or told else label


def _is_persons(part: str, own: str) -> bool:
    if re.search("[0-9@\uff20]|%40", part) or len(part) > 40:
        return True
    if not own:
        return False
    return own in _decoded(part) if re.search("[^a-z]", own) else own in re.split("[^a-z]+", _decoded(part))


def place_of(url: str | None, own: str) -> str | None:
    """Host and path of an address without what may be a person's."""
    host = host_of(url)
    if host is None or url is None:
        return None
    path = re.split(r"[?#]", url.split("://", 1)[1], maxsplit=1)[0].split("/")[1:]
    return "".join([host, *(f"/{'*' if _is_persons(part, own) else part}" for part in path)])


def link_metrics(rows: dict[str, list[Row]], events: Iterable[Event], messages: Iterable[Row]) -> list[Row]:
    """Clicks of each link of a job."""
    clicks = {event.activity_id: event for event in events if event.kind == "click"}
    accepted = {_key(message) for message in messages if message["outcome"] in _ACCEPTED}
    groups: dict[tuple[str, str], list[tuple[Row, Event]]] = defaultdict(list)
    of_job: dict[str, int] = defaultdict(int)
    for row in rows.get("clicks", []):
        if row["request_id"] is not None:
            own = own_of(row.get("email_address"))
            link = label_of(row.get("url_id"), own) or label_of(row.get("url_name"), own) or place_of(row.get("url"), own) or "(none)"
            groups[row["request_id"], link].append((row, clicks[row["activity_id"]]))
            of_job[row["request_id"]] += 1
    found = [_link(*key, group, accepted, of_job[key[0]]) for key, group in groups.items()]
    places: dict[str, int] = defaultdict(int)
    for row in sorted(found, key=lambda row: (-row["click_events"], -row["human_click_events"], row["link"])):
        places[row["request_id"]] += 1
        row["click_position"] = places[row["request_id"]]
    return found


def _link(request_id: str, link: str, group: list[tuple[Row, Event]], accepted: set[MessageKey], of_job: int) -> Row:
    ordered = sorted(group, key=lambda pair: (pair[0]["event_at"], pair[0]["activity_id"]))
    names = [name for row, _ in ordered if (name := label_of(row.get("url_name"), own_of(row.get("email_address"))))]
    hosts = [host for row, _ in ordered if (host := host_of(row.get("url")))]
    people = {event.message for _, event in group if event.message in accepted}
    humans = {event.message for _, event in group if event.message in accepted and event.human}
    return {
        "request_id": request_id,
        "link": link,
        "link_name": names[-1] if names else None,
        "link_host": hosts[-1] if hosts else None,
        "click_events": len(group),
        "human_click_events": sum(event.human for _, event in group),
        "unique_clickers": len(people),
        "unique_human_clickers": len(humans),
        "microsite_rate": ratio(sum(bool(row.get("is_microsite")) for row, _ in group), len(group)),
        "click_share_rate": ratio(len(group), of_job),
        "first_clicked_at": ordered[0][0]["event_at"],
        "last_clicked_at": ordered[-1][0]["event_at"],
    }


def _key(message: Row) -> MessageKey:
    return message["request_id"], message["channel"], message["recipient_key"]
