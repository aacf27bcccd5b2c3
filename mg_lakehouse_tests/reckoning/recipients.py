"""The funnel by day, mailbox provider and domain, and who must get nothing more."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from math import sqrt
from typing import Any

from mg_lakehouse_tests.reckoning.events import MESSAGE_COLUMNS, Event, MessageKey, Rows, hashed, normal
from mg_lakehouse_tests.reckoning.jobs import message_counts, message_rates
from mg_lakehouse_tests.reckoning.seeds import Seeds

Row = dict[str, Any]

_Z = 1.959963984540054
"""Of a standard normal, one in forty is above it."""


def domain_days(messages: Iterable[Row], seeds: Seeds) -> list[Row]:
    """The counts of each job on the days of its messages' first events (G30)."""
    return _counted(messages, ("request_id", "event_date", "channel", "mailbox_provider", "recipient_domain"), seeds)


def daily(messages: Iterable[Row], place: Sequence[str], seeds: Seeds) -> list[Row]:
    """Counts, rates and the level of complaints by day, channel and the columns of ``place``."""
    rows = _counted(messages, ("event_date", "channel", *place), seeds)
    return [row | message_rates(row) | _complaints(row["channel"], row["complainers_fbl"], row["accepted_fbl"]) for row in rows]


def _counted(messages: Iterable[Row], key: Sequence[str], seeds: Seeds) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for message in messages:
        dated = message | {"event_date": message["first_event_at"].date()}
        groups[tuple(dated[name] for name in key)].append(message)
    return [dict(zip(key, values, strict=True)) | message_counts(group, seeds) for values, group in groups.items()]


def _complaints(channel: str, complainers: int, accepted: int) -> Row:
    low = wilson_low(complainers, accepted)
    if low is None or channel != "email":
        level = None
    elif accepted < 200:
        level = "too_few"
    else:
        level = "act" if low >= 0.003 else "watch" if low >= 0.001 else "none"
    return {"complaint_rate_low": low, "complaint_level": level}


def wilson_low(successes: int, trials: int) -> float | None:
    """Lower end of Wilson's interval: the least share p of which ``successes`` are within z standard deviations.

    The smaller root of ``(s/n - p)^2 = z^2 p (1 - p) / n``.
    """
    if trials == 0:
        return None
    share = Fraction(successes, trials)
    a, b, c = 1 + _Z**2 / trials, -(2 * float(share) + _Z**2 / trials), float(share) ** 2
    return max(0.0, (-b - sqrt(max(0.0, b * b - 4 * a * c))) / (2 * a))


_FINAL_FAILURES = {
    "bounces": "hard_bounce",
    "mobile_push_delivery_failures": "dead_push_token",
    "sms_delivery_failures": "sms_invalid_address",
}
_REQUESTS = {"unsubscribes": "unsubscribe", "spam_complaints": "complaint"}
_FIRSTS = {
    "hard_bounce": "hard_bounced_at",
    "unsubscribe": "unsubscribed_at",
    "complaint": "complained_at",
    "sms_stop": "sms_stopped_at",
    "sms_invalid_address": "sms_invalid_at",
    "dead_push_token": "push_token_dead_at",
}
_STOPS = ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT")
_STARTS = ("START", "UNSTOP")


@dataclass(frozen=True)
class Evidence:
    """Why an address must get nothing more of a channel, from ``at`` until ``lifted``."""

    channel: str
    address: str
    reason: str
    at: datetime
    activity_id: str
    request_id: str | None
    lifted: datetime | None = None
    sent_to: str | None = None

    @property
    def order(self) -> tuple[datetime, str, str]:
        return self.at, self.activity_id, self.reason


def evidence_rows(evidence: Iterable[Evidence], events: Iterable[Event], inbounds: Iterable[Row], pii_key: str) -> list[Row]:
    """The table of all evidence, and of the texts that take some of it back (G33 to G35)."""
    # An id is one event's among those of a type.
    messages = {(event.activity_id, event.channel, _reason_of(event)): event.message[2] for event in events}
    starts = [
        Evidence("sms", address, "sms_stop", row["event_at"], row["activity_id"], row["request_id"], sent_to=trimmed(row))
        for row in inbounds
        if (address := normal(row["sms_address"])) and keyword_of(row.get("inbound_message_type"), row.get("inbound_message")) == "start"
    ]
    taking = {(each.activity_id, each.reason) for each in starts}
    return [
        {
            "activity_id": each.activity_id,
            "request_id": each.request_id,
            "channel": each.channel,
            "address": each.address,
            "address_hash": hashed(each.address, pii_key),
            "recipient_key": messages.get((each.activity_id, each.channel, each.reason)),
            "suppression_reason": each.reason,
            "takes_back": (each.activity_id, each.reason) in taking,
            "sent_to": each.sent_to,
            "evidence_at": each.at,
        }
        for each in [*evidence, *starts]
    ]


def _reason_of(event: Event) -> str | None:
    """The reason that an event is evidence of, if it is of any."""
    if event.category is not None:
        return {"email": "hard_bounce", "push": "dead_push_token", "sms": "sms_invalid_address"}[event.channel]
    return event.kind if event.kind in ("unsubscribe", "complaint") else None


def suppression_list(evidence: Iterable[Evidence], pii_key: str) -> list[Row]:
    """The addresses with a reason that stands (G33 to G35)."""
    groups: dict[tuple[str, str], list[Evidence]] = defaultdict(list)
    for each in evidence:
        if each.lifted is None:
            groups[each.channel, each.address].append(each)
    return [_listed(channel, address, group, pii_key) for (channel, address), group in groups.items()]


def _listed(channel: str, address: str, group: list[Evidence], pii_key: str) -> Row:
    firsts = {column: min((each.at for each in group if each.reason == reason), default=None) for reason, column in _FIRSTS.items()}
    return {
        "channel": channel,
        "address": address,
        "address_hash": hashed(address, pii_key),
        "newest_reason_at": max(at for at in firsts.values() if at is not None),
        "last_request_id": max(group, key=lambda each: each.order).request_id,
        **evidence_columns(group),
        **firsts,
    }


def evidence_columns(group: Sequence[Evidence]) -> Row:
    """What is said of some evidence, of whatever address."""
    return {
        "reasons": sorted({each.reason for each in group}),
        "first_reason": min(group, key=lambda each: each.order).reason,
        "first_evidence_at": min(each.at for each in group),
        "last_evidence_at": max(each.at for each in group),
        "evidence_events": len({each.order for each in group}),
    }


def suppression_evidence(rows: Rows, seeds: Seeds) -> list[Evidence]:
    """All evidence, that which was lifted included."""
    seen: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for table, (channel, column) in MESSAGE_COLUMNS.items():
        for row in rows.get(table, []):
            if row["request_id"] and row["recipient_id"] and (address := normal(row[column])):
                seen[channel, row["request_id"], row["recipient_id"]].add(address)
    found: list[Evidence] = []
    for table, row, reason in _final_events(rows, seeds):
        channel, column = MESSAGE_COLUMNS[table]
        address = normal(row[column])
        # Without an address it is about those of its recipient in the job.
        addresses = {address} if address else seen.get((channel, row["request_id"], row["recipient_id"]), set())
        found += [Evidence(channel, each, reason, row["event_at"], row["activity_id"], row["request_id"]) for each in addresses]
    return found + _stops(rows.get("sms_inbounds", []))


def _final_events(rows: Rows, seeds: Seeds) -> Iterator[tuple[str, Row, str]]:
    for table, reason in _REQUESTS.items():
        yield from ((table, row, reason) for row in rows.get(table, []))
    for table, reason in _FINAL_FAILURES.items():
        channel = MESSAGE_COLUMNS[table][0]
        for row in rows.get(table, []):
            category = seeds.categories.get((channel, seeds.key_of(channel, row["category"], row["category_code"])), {})
            if category.get("must_remove" if channel == "email" else "is_permanent"):
                yield table, row, reason


def _stops(inbounds: list[Row]) -> list[Evidence]:
    """The texts that stop others, each with the next one of the person that starts them again (G34)."""
    sent: dict[tuple[str, str | None], list[tuple[str, Row]]] = defaultdict(list)
    for row in inbounds:
        address, keyword = normal(row["sms_address"]), keyword_of(row.get("inbound_message_type"), row.get("inbound_message"))
        if address and keyword:
            sent[address, trimmed(row)].append((keyword, row))
    found = []
    for (address, to), texts in sent.items():
        starts = [row["event_at"] for keyword, row in texts if keyword == "start"]
        for keyword, row in texts:
            if keyword == "stop":
                at = row["event_at"]
                lifted = min((start for start in starts if start > at), default=None)
                found.append(Evidence("sms", address, "sms_stop", at, row["activity_id"], row["request_id"], lifted, to))
    return found


def trimmed(inbound: Row) -> str | None:
    """The number that a text was sent to."""
    to = inbound.get("destination_sms_number")
    return to.strip() if to else None


def keyword_of(kind: str | None, text: str | None) -> str | None:
    """What a text message asks for: `stop`, `start` or nothing (G34)."""
    kind = kind.strip() if kind else None
    words = re.findall("[A-Z]+", (kind or text or "").upper())
    whole = "".join(words)
    if whole in _STOPS or (not kind and words[:1] == ["STOP"]):
        return "stop"
    return "start" if whole in _STARTS else None


def suppression_violations(events: Iterable[Event], messages: Iterable[Row], evidence: Iterable[Evidence], pii_key: str) -> list[Row]:
    """The messages that were attempted after evidence that stood then (G36)."""
    own: dict[MessageKey, set[str]] = defaultdict(set)
    addresses: dict[MessageKey, set[str]] = defaultdict(set)
    for event in events:
        own[event.message].add(event.activity_id)
        addresses[event.message] |= {event.address} if event.address else set()
    known: dict[tuple[str, str], list[Evidence]] = defaultdict(list)
    for each in evidence:
        known[each.channel, each.address].append(each)
    found = []
    for message in messages:
        key = message["request_id"], message["channel"], message["recipient_key"]
        about = [each for address in addresses[key] for each in known[message["channel"], address]]
        before = [
            each
            for each in about
            if _stood(each, message["first_attempted_at"]) and (each.reason == "sms_stop" or each.activity_id not in own[key])
        ]
        if before:
            found.append(_violation(message, before, pii_key))
    return found


def _stood(evidence: Evidence, attempted_at: datetime | None) -> bool:
    """Whether it was known before the attempt, and not lifted before it."""
    return attempted_at is not None and evidence.at < attempted_at and (evidence.lifted is None or evidence.lifted >= attempted_at)


def _violation(message: Row, before: list[Evidence], pii_key: str) -> Row:
    first = min(before, key=lambda each: (*each.order, each.address))
    return {
        **{name: message[name] for name in ("request_id", "channel", "recipient_key", "mailbox_provider", "outcome", "first_attempted_at")},
        **evidence_columns(before),
        "address_hash": hashed(first.address, pii_key),
        "seconds_since_first_evidence": (message["first_attempted_at"] - first.at).total_seconds(),
    }
