"""The funnel by day, mailbox provider and domain, and who must get nothing more."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from math import sqrt
from typing import Any

from mg_lakehouse_tests.oracle.events import (
    MESSAGE_COLUMNS,
    Event,
    MessageKey,
    Rows,
    compared,
    hashed,
    normal,
    placeholder,
    real_id,
    shared_in_jobs,
)
from mg_lakehouse_tests.oracle.jobs import message_counts, message_rates
from mg_lakehouse_tests.oracle.seeds import Seeds

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
_STOPS = ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "ARRET")
_STARTS = ("START", "UNSTOP")


@dataclass(frozen=True)
class Evidence:
    """Why an address must get nothing more of a channel, from ``at`` until ``lifted``.

    ``address`` is as it was written, ``compared`` as it is compared; both are missing where nobody knows whose it is. ``known`` is when the lake had
    the event and what ties it to the address, ``lift_known`` when it had what lifts it too: of rows that do not say when they were received, never.
    """

    channel: str
    address: str | None
    compared: str | None
    reason: str
    at: datetime
    activity_id: str
    request_id: str | None
    recipient_id: str | None = None
    tied_by: str | None = None
    known: datetime | None = None
    takes_back: bool = False
    sent_to: str | None = None
    lifted: datetime | None = None
    lift_known: datetime | None = None

    @property
    def order(self) -> tuple[datetime, str, str]:
        return self.at, self.activity_id, self.reason


def recipient_addresses(rows: Rows) -> list[Row]:
    """Which addresses each id was seen with, and every address of text messages or that is not written as it is compared (G70, G75); without the bucket, which means nothing."""
    found: dict[tuple[str, str | None, str | None], list[datetime | None]] = defaultdict(list)
    for channel, spelled, row in _messages(rows):
        who = real_id(row["recipient_id"])
        if spelled and (who or _number(channel, spelled)):
            found[channel, who, spelled].append(row.get("received_at"))
        if nobody := placeholder(row["recipient_id"]):
            found[channel, nobody, None].append(row.get("received_at"))
    return [
        {
            "channel": channel,
            "recipient_id": who,
            "address": address,
            "number": _number(channel, address),
            "first_received_at": _earliest(times),
        }
        for (channel, who, address), times in found.items()
    ]


def _number(channel: str, address: str | None) -> str | None:
    """What an address is compared by, where that is not how it is written; of a phone number always."""
    form = compared(channel, address)
    return form if channel == "sms" or form != address else None


def _messages(rows: Rows) -> Iterator[tuple[str, str | None, Row]]:
    for table, (channel, column) in MESSAGE_COLUMNS.items():
        yield from ((channel, normal(row[column]), row) for row in rows.get(table, []))


def _earliest(times: Iterable[datetime | None]) -> datetime | None:
    return min((at for at in times if at is not None), default=None)


def _latest(*times: datetime | None) -> datetime | None:
    return max((at for at in times if at is not None), default=None)


def evidence_rows(evidence: Iterable[Evidence], events: Iterable[Event], pii_key: str) -> list[Row]:
    """The table of all evidence, and of the texts that take some of it back (G33 to G35)."""
    # An id is one event's among those of a type.
    messages = {(event.activity_id, event.channel, _reason_of(event)): event.message[2] for event in events}
    return [
        {
            "activity_id": each.activity_id,
            "request_id": each.request_id,
            "channel": each.channel,
            "address": each.address,
            "address_hash": hashed(each.compared, pii_key) if each.compared else None,
            "recipient_key": messages.get((each.activity_id, each.channel, each.reason)),
            "suppression_reason": each.reason,
            "takes_back": each.takes_back,
            "sent_to": each.sent_to,
            "evidence_at": each.at,
            "recipient_id": each.recipient_id,
            "tied_by": each.tied_by,
            "known_at": each.known,
        }
        for each in evidence
    ]


def unresolved_opt_outs(evidence: Iterable[Evidence]) -> list[Row]:
    """Who asked to get nothing more and cannot be told (G35)."""
    return [
        {
            "activity_id": each.activity_id,
            "request_id": each.request_id,
            "channel": each.channel,
            "recipient_id": each.recipient_id,
            "suppression_reason": each.reason,
            "evidence_at": each.at,
            "known_at": each.known,
        }
        for each in evidence
        if each.address is None
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
        if each.lifted is None and each.address is not None and not each.takes_back:
            groups[each.channel, each.address].append(each)
    return [_listed(channel, address, group, pii_key) for (channel, address), group in groups.items()]


def _listed(channel: str, address: str, group: list[Evidence], pii_key: str) -> Row:
    firsts = {column: min((each.at for each in group if each.reason == reason), default=None) for reason, column in _FIRSTS.items()}
    known = [_earliest(each.known for each in group if each.reason == reason) for reason in _FIRSTS]
    return {
        "channel": channel,
        "address": address,
        "address_hash": hashed(group[0].compared or "", pii_key),
        "newest_reason_at": max(at for at in firsts.values() if at is not None),
        "last_request_id": max(group, key=lambda each: each.order).request_id,
        "listed_at": _latest(*known),
        **evidence_columns(group),
        **firsts,
    }


def suppression_removals(evidence: Iterable[Evidence], pii_key: str) -> list[Row]:
    """The addresses of which nothing stands any more (G34)."""
    groups: dict[tuple[str, str], list[Evidence]] = defaultdict(list)
    for each in evidence:
        if each.address is not None and not each.takes_back:
            groups[each.channel, each.address].append(each)
    return [
        {
            "channel": channel,
            "address": address,
            "address_hash": hashed(group[0].compared or "", pii_key),
            "reasons": sorted({each.reason for each in group}),
            "first_evidence_at": min(each.at for each in group),
            "last_evidence_at": max(each.at for each in group),
            "taken_back_at": max(each.lifted for each in group if each.lifted),
            "removed_at": _latest(*(each.lift_known for each in group)),
        }
        for (channel, address), group in groups.items()
        if all(each.lifted for each in group)
    ]


def evidence_columns(group: Sequence[Evidence]) -> Row:
    """What is said of some evidence, of whatever address."""
    return {
        "reasons": sorted({each.reason for each in group}),
        "first_reason": min(group, key=lambda each: each.order).reason,
        "first_evidence_at": min(each.at for each in group),
        "last_evidence_at": max(each.at for each in group),
        "evidence_events": len({each.order for each in group}),
    }


Ways = dict[str | None, tuple[datetime | None, str | None]]
"""By address as it was written, none for nobody: when the lake knew that an event is about it, and what says so."""


class _Known:
    """What the lake knows of whose an id is: addresses with the time of the first event that says so."""

    def __init__(self, rows: Rows, at_most: int) -> None:
        self.in_jobs: dict[tuple[str, str, str], dict[str, datetime | None]] = defaultdict(dict)
        self.of_ids: dict[tuple[str, str], dict[str, datetime | None]] = defaultdict(dict)
        self.of_numbers: dict[tuple[str, str], dict[str, datetime | None]] = defaultdict(dict)
        shared = shared_in_jobs(rows, at_most)
        for channel, spelled, row in _messages(rows):
            who, job = real_id(row["recipient_id"]), row["request_id"]
            if spelled:
                tied = [self.of_ids[channel, who]] if who else []
                tied += [self.in_jobs[job, channel, who]] if who and job and (job, channel, who) not in shared else []
                number = _number(channel, spelled)
                tied += [self.of_numbers[channel, number]] if number else []
                for addresses in tied:
                    addresses[spelled] = _earliest([addresses.get(spelled), row.get("received_at")])
        for (channel, who), addresses in list(self.of_ids.items()):
            if len({compared(channel, each) for each in addresses}) > at_most:
                del self.of_ids[channel, who]

    def ways(self, channel: str, address: str | None, row: Row, *, asks: bool) -> Ways:
        """The addresses that an event is about."""
        received, who = row.get("received_at"), real_id(row["recipient_id"])
        if address:
            found: Ways = {address: (received, None)}
        elif asks:
            found = {each: (_latest(received, at), "recipient_id") for each, at in self.of_ids.get((channel, who or ""), {}).items()}
        else:
            tied = self.in_jobs.get((row["request_id"] or "", channel, who or ""), {})
            found = {each: (_latest(received, at), "job") for each, at in tied.items()}
        return self._with_spellings(channel, found)

    def _with_spellings(self, channel: str, found: Ways) -> Ways:
        """The spellings that are known of the addresses too, and of an e-mail address its one form."""
        ways: dict[str | None, list[tuple[datetime | None, str | None]]] = {address: [way] for address, way in found.items()}
        for address, (known, _) in found.items():
            form = compared(channel, address)
            for spelled, at in self.of_numbers.get((channel, form or ""), {}).items():
                if spelled != address:
                    ways.setdefault(spelled, []).append((_latest(known, at), "number" if channel == "sms" else "spelling"))
            if channel == "email" and form and form != address:
                ways.setdefault(form, []).append((known, "spelling"))
        never = datetime.max.replace(tzinfo=UTC)
        return {address: min(each, key=lambda way: (way[0] or never, way[1] or "")) for address, each in ways.items()}


def suppression_evidence(rows: Rows, seeds: Seeds, at_most: int) -> list[Evidence]:
    """All evidence, that which was lifted and that which lifts it included."""
    known = _Known(rows, at_most)
    found: list[Evidence] = []
    for table, row, reason in _final_events(rows, seeds):
        channel, column = MESSAGE_COLUMNS[table]
        asks = table in _REQUESTS
        ways = known.ways(channel, normal(row[column]), row, asks=asks)
        found += _about(
            channel, reason, row, ways or ({None: (row.get("received_at"), None)} if asks else {}), real_id(row["recipient_id"])
        )
    return found + _stops(rows.get("sms_inbounds", []), known)


def _about(channel: str, reason: str, row: Row, ways: Ways, who: str | None) -> list[Evidence]:
    return [
        Evidence(
            channel,
            address,
            compared(channel, address),
            reason,
            row["event_at"],
            row["activity_id"],
            row["request_id"],
            who,
            tied_by,
            at,
        )
        for address, (at, tied_by) in ways.items()
    ]


def _final_events(rows: Rows, seeds: Seeds) -> Iterator[tuple[str, Row, str]]:
    for table, reason in _REQUESTS.items():
        yield from ((table, row, reason) for row in rows.get(table, []))
    for table, reason in _FINAL_FAILURES.items():
        channel = MESSAGE_COLUMNS[table][0]
        for row in rows.get(table, []):
            category = seeds.categories.get((channel, seeds.key_of(channel, row["category"], row["category_code"])), {})
            if category.get("must_remove" if channel == "email" else "is_permanent"):
                yield table, row, reason


def _stops(inbounds: list[Row], known: _Known) -> list[Evidence]:
    """The texts that stop others, each with the next one of the person that starts them again, and those (G34)."""
    texts: list[Evidence] = []
    for row in inbounds:
        keyword, address = keyword_of(row.get("inbound_message_type"), row.get("inbound_message")), normal(row["sms_address"])
        if keyword == "stop" or (keyword and address):
            ways = known.ways("sms", address, row | {"recipient_id": None}, asks=True)
            about = _about("sms", "sms_stop", row, ways or {None: (row.get("received_at"), None)}, None)
            texts += [replace(each, takes_back=keyword == "start", sent_to=trimmed(row)) for each in about]
    return [each if each.takes_back or each.address is None else _lifted(each, texts) for each in texts]


def _lifted(stop: Evidence, texts: Iterable[Evidence]) -> Evidence:
    later = [
        each
        for each in texts
        if each.takes_back
        and each.at > stop.at
        and (each.compared, compared("sms", each.sent_to)) == (stop.compared, compared("sms", stop.sent_to))
    ]
    if not later:
        return stop
    return replace(stop, lifted=min(each.at for each in later), lift_known=_latest(stop.known, _earliest(each.known for each in later)))


def trimmed(inbound: Row) -> str | None:
    """The number that a text was sent to."""
    to = inbound.get("destination_sms_number")
    return to.strip() if to else None


def keyword_of(kind: str | None, text: str | None) -> str | None:
    """What a text message asks for: `stop`, `start` or nothing (G34)."""
    words = deciding_words(kind, text)
    whole = "".join(words)
    if whole in _STOPS or words[:1] == ["STOP"]:
        return "stop"
    return "start" if whole in _STARTS else None


def deciding_words(kind: str | None, text: str | None) -> list[str]:
    """The words that decide on a text message, in capitals: its kind where that says something, else what the person wrote (G34)."""
    by_kind = _words(kind)
    return by_kind if "".join(by_kind) in (*_STOPS, *_STARTS, "HELP", "INFO") else _words(text)


def _words(text: str | None) -> list[str]:
    plain = unicodedata.normalize("NFKD", text or "")
    return re.findall("[A-Z]+", "".join(each for each in plain if not unicodedata.combining(each)).upper())


def suppression_violations(events: Iterable[Event], messages: Iterable[Row], evidence: Iterable[Evidence], pii_key: str) -> list[Row]:
    """The messages that were attempted after evidence that stood then (G36)."""
    own: dict[MessageKey, set[str]] = defaultdict(set)
    addresses: dict[MessageKey, set[str]] = defaultdict(set)
    for event in events:
        own[event.message].add(event.activity_id)
        addresses[event.message] |= {event.address} if event.address else set()
    known: dict[tuple[str, str], list[Evidence]] = defaultdict(list)
    for each in evidence:
        if each.compared and not each.takes_back:
            known[each.channel, each.compared].append(each)
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
    first = min(before, key=lambda each: (*each.order, each.compared))
    return {
        **{name: message[name] for name in ("request_id", "channel", "recipient_key", "mailbox_provider", "outcome", "first_attempted_at")},
        **evidence_columns(before),
        "address_hash": hashed(first.compared or "", pii_key),
        "seconds_since_first_evidence": (message["first_attempted_at"] - first.at).total_seconds(),
    }
