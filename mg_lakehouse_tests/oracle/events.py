"""From silver rows to the events of messages: whose message, what kind of event, human or machine."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from mg_lakehouse_tests.oracle.replies import codes
from mg_lakehouse_tests.oracle.seeds import Seeds

Row = dict[str, Any]
Rows = dict[str, list[Row]]

# Table: channel, kind of event, column of the address, prefix of its hash.
_TABLES = {
    "deliveries": ("email", "delivery", "email_address", "email"),
    "bounces": ("email", "failure", "email_address", "email"),
    "render_errors": ("email", "render_error", "email_address", "email"),
    "opens": ("email", "open", "email_address", "email"),
    "clicks": ("email", "click", "email_address", "email"),
    "unsubscribes": ("email", "unsubscribe", "email_address", "email"),
    "spam_complaints": ("email", "complaint", "email_address", "email"),
    "sms_deliveries": ("sms", "delivery", "sms_address", "sms"),
    "sms_delivery_failures": ("sms", "failure", "sms_address", "sms"),
    "sms_render_errors": ("sms", "render_error", "sms_address", "sms"),
    "mobile_push_deliveries": ("push", "delivery", "device_id", "device"),
    "mobile_push_delivery_failures": ("push", "failure", "device_id", "device"),
    "mobile_push_render_errors": ("push", "render_error", "device_id", "device"),
}
SENDS = frozenset(("deliveries", "bounces", "render_errors", "sms_deliveries", "sms_delivery_failures", "sms_render_errors", "requests"))
SENDS |= {"mobile_push_deliveries", "mobile_push_delivery_failures", "mobile_push_render_errors"}
"""Tables whose rows are evidence of sending (G9)."""

MESSAGE_TABLES = frozenset(_TABLES)
MESSAGE_COLUMNS = {table: (channel, column) for table, (channel, _, column, _) in _TABLES.items()}
"""By table of messages: the channel, and the column of the address."""

_BOUNCES = ("hard", "soft", "block", "undetermined")
_FAILURES = {"deferred": "deferral", "suppressed": "suppression", "rejected": "rejection"}
_SCANNERS = ("barracuda", "proofpoint", "mimecast", "symantec", "urldefense", "safelinks")
_PREFETCH = "Mozilla/5.0"

MessageKey = tuple[str | None, str, str]
"""request_id, channel, recipient_key."""


@dataclass
class Event:
    """An event of a message.

    ``kind`` is delivery, bounce, deferral, suppression, rejection, render_error, open, click, unsubscribe or
    complaint. ``category`` (its key), ``counts_as``, ``bounce_class`` and ``text`` (the category as received) are
    those of failures, ``smtp_code`` and ``enhanced_status`` those of bounces of e-mail. ``reasons`` are why an open or a click is a machine's.
    """

    kind: str
    channel: str
    request_id: str | None
    recipient_key: str
    at: datetime
    activity_id: str
    address: str | None
    service: str | None = None
    user_agent: str | None = None
    url: str | None = None
    category: str | None = None
    counts_as: str | None = None
    bounce_class: str | None = None
    text: str | None = None
    smtp_code: int | None = None
    enhanced_status: str | None = None
    reasons: tuple[str, ...] = ()

    @property
    def human(self) -> bool:
        """Whether nothing says that it is a machine's (G6)."""
        return not self.reasons

    @property
    def message(self) -> MessageKey:
        return self.request_id, self.channel, self.recipient_key

    @property
    def day(self) -> date:
        return self.at.date()

    @property
    def order(self) -> tuple[datetime, str]:
        """Earliest first, ties to the smallest activity id."""
        return self.at, self.activity_id


def message_events(rows: Rows, seeds: Seeds, pii_key: str, at_most: int) -> list[Event]:
    """All events of messages, with their recipient keys, kinds and flags; ``at_most`` addresses are a recipient id's, of one that has more it is nobody's."""
    ids = Ids(whole_ids(rows), shared_in_jobs(rows, at_most))
    events = [_event(table, row, seeds, pii_key, ids) for table in sorted(MESSAGE_TABLES) for row in rows.get(table, [])]
    _tie_addresses(events)
    by_message: dict[MessageKey, list[Event]] = defaultdict(list)
    for event in events:
        by_message[event.message].append(event)
    for group in by_message.values():
        _flag(group)
    return events


JobRecipient = tuple[str, str, str]
"""request_id, channel, recipient id."""


class Ids(NamedTuple):
    """What a job knows of its recipient ids: those that were damaged, whole, and those that are of nobody."""

    whole: dict[tuple[str, str, str, str], str]
    shared: set[JobRecipient]


def shared_in_jobs(rows: Rows, at_most: int) -> set[JobRecipient]:
    """The recipient ids of a job that it has more addresses for than a person has (G70)."""
    seen: dict[JobRecipient, set[str]] = defaultdict(set)
    whole = whole_ids(rows)
    for table, (channel, column) in MESSAGE_COLUMNS.items():
        for row in rows.get(table, []):
            who, address = real_id(row["recipient_id"]), compared(channel, row[column])
            if row["request_id"] and who and address:
                seen[row["request_id"], channel, whole.get((row["request_id"], channel, address, who), who)].add(address)
    return {key for key, addresses in seen.items() if len(addresses) > at_most}


_ROUNDED = re.compile(r"[0-9]([.,][0-9]+)?[eE][+][0-9]+")
_NO_IDS = re.compile(
    r"[#()\[\]<>{} ]*(null|nil|none|undefined|nan|unknown|missing|empty|blank|n/a|n\.a\.|na|not available|not set|-1)[#()\[\]<>{} ]*"
    r"|[()\[\]<>{} ]*#[#()\[\]<>{} ]*(ref!|value!|name\?|div/0!|num!|null!)[#()\[\]<>{} ]*"
    r"|[-0_.?#*{}()\[\]<> ]*|(%%|\{\{|\{%|\$\{|#\{|@\{|\[\[|\[%|\*\||<%|<#|&\{).*|%.*%|%",
    re.IGNORECASE | re.DOTALL,
)


def real_id(text: str | None) -> str | None:
    """A recipient id, unless it is what stands where there is none (G70)."""
    stripped = (text or "").strip(" ")
    return None if _NO_IDS.fullmatch(stripped) or _ROUNDED.fullmatch(stripped) else stripped


def placeholder(text: str | None) -> str | None:
    """What stands in place of a recipient id where there is none."""
    stripped = (text or "").strip(" ")
    return stripped if stripped and real_id(stripped) is None else None


def compared(channel: str, address: str | None) -> str | None:
    """An address as it is compared: a phone number by its digits (G71), an e-mail address in its one form (G75)."""
    spelled = normal(address)
    if spelled is not None and channel == "email":
        return person_of(spelled) or None
    if spelled is None or channel != "sms":
        return spelled
    text = re.sub("^(tel|sms|whatsapp):", "", spelled)
    digits = "".join(chr(ord(each) - 0xFEE0) if "０" <= each <= "９" else each for each in text)
    number = re.sub("^00", "", re.sub("[^0-9]", "", digits))
    return spelled if any(each.isalpha() for each in text) or not 1 <= len(number) <= 15 else f"+{number}"


def person_of(address: str) -> str:
    """An e-mail address without a display name, a dot at its end and what does not show, its domain as the DNS has it (G75)."""
    seen = (
        "".join(each for each in unicodedata.normalize("NFKC", address) if unicodedata.category(each) not in ("Cf", "Cc")).strip().lower()
    )
    if seen.endswith(">") and "<" in seen:
        seen = seen[seen.rindex("<") + 1 : -1].strip()
    local, at, domain = seen.rstrip(".").rpartition("@")
    return f"{local}{at}{domain.encode('idna').decode() if at else domain}"


def number_of(who: str) -> str:
    """The number that an id is, without what a spreadsheet takes from it or adds to it (G76)."""
    found = re.fullmatch(r"'?0*([1-9][0-9]*)([.]0+)?", who)
    return found[1] if found else ""


def whole_ids(rows: Rows) -> dict[tuple[str, str, str, str], str]:
    """By job, channel, address and id: the id that a spreadsheet damaged, where the job has it whole for the same address (G76)."""
    seen: dict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    for table, (channel, column) in MESSAGE_COLUMNS.items():
        for row in rows.get(table, []):
            who, address = real_id(row["recipient_id"]), compared(channel, row[column])
            if row["request_id"] and who and address and number_of(who):
                seen[row["request_id"], channel, address, number_of(who)].add(who)
    return {
        (job, channel, address, who): max(ids, key=lambda each: (each.isdigit(), len(each), each))
        for (job, channel, address, _), ids in seen.items()
        for who in ids
    }


def _event(table: str, row: Row, seeds: Seeds, pii_key: str, ids: Ids) -> Event:
    channel, kind, column, _ = _TABLES[table]
    event = Event(
        kind=kind,
        channel=channel,
        request_id=row["request_id"],
        recipient_key=_own_key(table, row, pii_key, ids),
        at=row["event_at"],
        activity_id=row["activity_id"],
        address=compared(channel, row[column]),
        service=row.get("service"),
        user_agent=row.get("user_agent"),
        url=row.get("url"),
    )
    if kind == "failure":
        key = seeds.key_of(channel, row["category"], row["category_code"])
        event.category, event.text = key, row["category"]
        event.counts_as, event.bounce_class = seeds.counts_as(channel, key), seeds.class_of(channel, key)
        if channel == "email":
            event.smtp_code, event.enhanced_status = codes(row.get("details"))
        event.kind = "bounce" if event.counts_as in _BOUNCES else _FAILURES[event.counts_as]
    return event


def normal(address: str | None) -> str | None:
    """An address as it is compared: trimmed and in lower case."""
    return (address.strip().lower() or None) if address else None


def hashed(address: str, pii_key: str) -> str:
    """HMAC-SHA256 of the trimmed, lower-cased address, as lower-case hex."""
    return hmac.new(pii_key.encode(), address.strip().lower().encode(), hashlib.sha256).hexdigest()


def _own_key(table: str, row: Row, pii_key: str, ids: Ids) -> str:
    """Recipient key of an event looked at alone (G2)."""
    channel, _, column, prefix = _TABLES[table]
    address, who = compared(channel, row[column]), real_id(row["recipient_id"])
    if row["request_id"] is None:
        return f"activity:{row['activity_id']}"
    who = ids.whole.get((row["request_id"], channel, address or "", who or ""), who)
    if who and (row["request_id"], channel, who) not in ids.shared:
        return f"id:{who}"
    if address:
        return f"{prefix}:{hashed(address, pii_key)}"
    return f"activity:{row['activity_id']}"


def _tie_addresses(events: list[Event]) -> None:
    """Give events of an address only to the one recipient id that the address was seen with in the job and channel (G2)."""
    seen: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for event in events:
        if event.request_id is not None and event.address and event.recipient_key.startswith("id:"):
            seen[event.request_id, event.channel, event.address].add(event.recipient_key)
    for event in events:
        if event.request_id is not None and event.address and not event.recipient_key.startswith("id:"):
            keys = seen.get((event.request_id, event.channel, event.address), set())
            if len(keys) == 1:
                (event.recipient_key,) = keys


def _flag(events: list[Event]) -> None:
    """Tell people from machines among the events of one message (G6)."""
    deliveries = [event.at for event in events if event.kind == "delivery"]
    clicks = [event for event in events if event.kind == "click"]
    for event in events:
        if event.kind == "open":
            event.reasons = ("prefetch_user_agent",) if (event.user_agent or "").strip() == _PREFETCH else ()
    for click in clicks:
        before = [at for at in deliveries if at <= click.at]
        at_once = bool(before) and click.at - max(before) <= timedelta(seconds=3)
        near = {other.url for other in clicks if other.url and abs(other.at - click.at) <= timedelta(seconds=2)}
        scanner = any(name in (click.user_agent or "").lower() for name in _SCANNERS)
        found = {"click_after_delivery": at_once, "many_links_at_once": len(near) >= 3, "scanner_user_agent": scanner}
        click.reasons = tuple(name for name, holds in found.items() if holds)
