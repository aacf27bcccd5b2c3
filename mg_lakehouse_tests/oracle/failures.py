"""Why messages failed, what jobs and templates got wrong, and the channels beside e-mail (G50 to G54)."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from mg_lakehouse_tests.oracle.events import compared
from mg_lakehouse_tests.oracle.jobs import ratio
from mg_lakehouse_tests.oracle.recipients import deciding_words, keyword_of
from mg_lakehouse_tests.oracle.replies import codes
from mg_lakehouse_tests.oracle.seeds import Seeds

Row = dict[str, Any]
Rows = dict[str, list[Row]]

NONE = "(none)"
_SMS = {
    "INVALID_ADDRESS": "invalid_addresses",
    "INTERNATIONAL_SENDING_PROHIBITED": "international_prohibited",
    "ADDRESS_BLOCKED": "addresses_blocked",
    "INVALID_CONTENT": "invalid_content",
    "SERVICE_FAILURE": "service_failures",
    "JOB_CANCELLED": "cancelled",
}
_RENDERED = {"render_errors": "email", "sms_render_errors": "sms", "mobile_push_render_errors": "push"}


_NAMING_WORDS = "user users recipient recipients mailbox mailboxes inbox account address addresses alias username"
_NAMING = frozenset(_NAMING_WORDS.split(" "))
_HARMLESS_WORDS = (
    "# unknown not no is was are does doesn't did has have had over full disabled inactive unavailable rejected suspended closed deleted expired "
    "exceeded exceeds blocked name names address addresses account user users mailbox recipient recipients in on and or of at by for from to with "
    "that this you your cannot can can't could couldn't may must temporarily currently already quota size limit invalid verification verify list "
    "lookup server storage error failed refused exists exist syntax reputation complaint complaints policy access denied due here too but because "
    "if unrouteable undeliverable unverified locked moved the a an be table"
)
_HARMLESS = frozenset(_HARMLESS_WORDS.split(" "))
_SIGNS = set("@#=/\\_%&+")
_TOKEN = re.compile(r"[A-Za-z]*[a-z][A-Z][a-z]?[A-Z][A-Za-z]*|[A-Za-z]{25,}|\b([a-f]{8,}|[A-F]{8,})\b")


def fingerprint(text: str | None, address: str | None = None) -> str:
    """What a text says beside of whom and when (G50), word by word."""
    bare = re.sub(r"\s*[(\[{]\s*at\s*[)\]}]\s*|\s+@\s+", "@", text or "", flags=re.IGNORECASE)
    bare = re.sub(r"\"(?:[^\"\\]|\\.)*\"|(?:^|\s)'[^']*'|<[^<>]*>", " # ", bare)
    bare = _TOKEN.sub("#", re.sub(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", "#", bare)).lower()
    own = (address or "").strip().lower().split("@")[0]
    words: list[str] = []
    for word in re.split(r"[\s(),;:<>\[\]{}!?*~|`\"]+", bare):
        if not word:
            continue
        naming = bool(words) and words[-1] in _NAMING
        new = "#" if _is_odd(word) or _is_own(word, own) or (naming and word not in _HARMLESS) else word
        if not (new == "#" and words[-1:] == ["#"]):
            words.append(new)
    return " ".join(words)[:200].strip() or NONE


def _is_odd(word: str) -> bool:
    signs = word[:-1] if word[-1] in "=/\\_%&+" else word
    return not word.isascii() or bool(re.search(r"[^. ]\.[^. ]|[0-9]", word)) or bool(_SIGNS & set(signs)) or word[-1] in "@#"


def _is_own(word: str, own: str) -> bool:
    """Whether a word has the local part in it, or one of the words of the local part."""
    names = {part for part in re.split("[^a-z]+", own) if len(part) > 2} | {own} - {""}
    return (len(own) > 3 and own in word) or bool(names & set(re.split("[^a-z]+", word)))


def bounce_reasons_daily(rows: Rows, seeds: Seeds) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows.get("bounces", []):
        address = compared("email", row["email_address"]) or ""
        found = re.fullmatch(r"[^@\s]+@([^@\s]+\.[^@\s]+)", address)
        provider = "unknown" if not found else seeds.providers.get(found[1], "other")
        key = seeds.key_of("email", row["category"], row["category_code"])
        details = row.get("details")
        groups[row["event_at"].date(), provider, key, *codes(details), fingerprint(details, address)].append(row)
    made = []
    for (day, provider, key, reply, status, words), group in groups.items():
        known = seeds.categories.get(("email", key))
        names = sorted({row["category"].strip() for row in group if row["category"] and row["category"].strip()})
        made.append(
            {
                "event_date": day,
                "mailbox_provider": provider,
                "category_key": key,
                "category": known["category"] if known else (names[0] if names else key),
                "class": seeds.class_of("email", key),
                "counts_as": seeds.counts_as("email", key),
                "smtp_code": reply,
                "enhanced_status": status,
                "reason_fingerprint": words,
                "events": len(group),
                "addresses": len({compared("email", row["email_address"]) for row in group} - {None}),
                "jobs": len({row["request_id"] for row in group} - {None}),
                **_seen(group),
            }
        )
    return made


def _seen(group: Iterable[Row]) -> Row:
    times: list[datetime] = [row["event_at"] for row in group]
    return {"first_seen_at": min(times), "last_seen_at": max(times)}


def _errors(row: Row) -> list[Row]:
    return row.get("errors") or [{"error_code": None, "error_message": None}]


def _summed(group: list[Row], name: str) -> Row:
    newest = max(group, key=lambda row: (row["event_at"], row["activity_id"]))
    return {
        name: len({row["activity_id"] for row in group}),
        "jobs": len({row["request_id"] for row in group} - {None}),
        **_seen(group),
        "newest_request_id": newest["request_id"],
    }


def job_errors(rows: Rows) -> list[Row]:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows.get("job_errors", []):
        for error in _errors(row):
            groups[_code(error), fingerprint(error["error_message"])].append(row)
    return [{"error_code": code, "error_fingerprint": words, **_summed(group, "events")} for (code, words), group in groups.items()]


def render_errors(rows: Rows) -> list[Row]:
    groups: dict[tuple[str, str, str | None, str | None, str], list[Row]] = defaultdict(list)
    for table, channel in _RENDERED.items():
        for row in rows.get(table, []):
            for error in _errors(row):
                text = error["error_message"] or ""
                part = re.search(r"\bin ([A-Z][A-Z_]+)\b", text)
                expression = _EXPRESSION.search(text)
                place = part[1] if part else None, expression[1] if expression else None
                address = compared("email", row.get("email_address"))
                groups[channel, _code(error, address), *place, fingerprint(text, address)].append(row)
    names = ("channel", "error_code", "template_part", "expression", "error_fingerprint")
    return [dict(zip(names, key, strict=True)) | _summed(group, "messages") for key, group in groups.items()]


_NAME = r"[a-z_$][a-z0-9_$]*"
_EXPRESSION = re.compile(rf"\bexpression ({_NAME}(?:\.{_NAME}|\?[a-z_]+|\[[0-9]{{1,3}}\])*)(?=[\s,;:.]|$)", re.IGNORECASE)


def _code(error: Row, address: str | None = None) -> str:
    """The code as received where it is a phrase with at most one number and nothing of the address; what its words say where it is anything else (G52)."""
    code = (error["error_code"] or "").strip()
    own = (address or "").strip().lower().split("@")[0]
    words = re.split(r"[ _:-]{1,2}", code)
    numbers = [word for word in words if word.isdigit()]
    phrase = (
        re.fullmatch(r"[A-Za-z]{1,40}", words[0])
        and all(re.fullmatch(r"[A-Za-z]{1,40}|[0-9]{1,4}", word) for word in words)
        and len(numbers) <= 1
        and not any(_is_own(word.lower(), own) for word in words)
        and not (len(own) > 3 and own in code.lower())
    )
    return code if phrase else fingerprint(code, address)


def sms_metrics(metrics: Iterable[Row], messages: Iterable[Row]) -> list[Row]:
    failed: dict[str, Counter[str]] = defaultdict(Counter)
    for message in messages:
        if message["channel"] == "sms" and message["bounce_category_key"] is not None and message["request_id"] is not None:
            failed[message["request_id"]][_SMS.get(message["bounce_category_key"], "other_failures")] += 1
    made = []
    for job in metrics:
        if job["channel"] == "sms":
            counts = {name: failed[job["request_id"]][name] for name in (*_SMS.values(), "other_failures")}
            taken = ("request_id", "job_date", "targeted", "attempted", "accepted", "bounced", "rejected", "render_failed", "delivery_rate")
            rate = ratio(counts["invalid_addresses"], job["attempted"])
            made.append({name: job[name] for name in taken} | counts | {"invalid_address_rate": rate})
    return made


def push_metrics(messages: Iterable[Row], seeds: Seeds) -> list[Row]:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for message in messages:
        if message["channel"] == "push" and message["request_id"] is not None:
            groups[message["request_id"], message["mailbox_provider"]].append(message)
    made = []
    for (request_id, service), group in groups.items():
        bounced = [message for message in group if message["outcome"] in ("bounced", "bounced_after_delivery")]
        accepted = sum(message["outcome"] in ("delivered", "implied_delivery") for message in group)
        outcomes = Counter(message["outcome"] for message in group)
        attempted = accepted + len(bounced) + outcomes["deferred"]
        dead = sum(bool((seeds.categories.get(("push", message["bounce_category_key"])) or {}).get("is_permanent")) for message in bounced)
        made.append(
            {
                "request_id": request_id,
                "service": service,
                "targeted": len(group),
                "attempted": attempted,
                "accepted": accepted,
                "bounced": len(bounced),
                "deferred": outcomes["deferred"],
                "rejected": outcomes["rejected"],
                "render_failed": outcomes["render_failed"],
                "dead_tokens": dead,
                "delivery_rate": ratio(accepted, attempted),
                "dead_token_rate": ratio(dead, attempted),
            }
        )
    return made


def sms_inbound_daily(rows: Rows) -> list[Row]:
    groups: dict[tuple[date, str, str], list[Row]] = defaultdict(list)
    for row in rows.get("sms_inbounds", []):
        kind, text = row.get("inbound_message_type"), row.get("inbound_message")
        words = "".join(deciding_words(kind, text))
        found = keyword_of(kind, text) or ("help" if words in ("HELP", "INFO") else "other")
        groups[row["event_at"].date(), (row.get("destination_sms_number") or "").strip() or NONE, found].append(row)
    return [
        {
            "event_date": day,
            "sent_to": number,
            "inbound_type": kind,
            "events": len(group),
            "senders": len({compared("sms", row.get("sms_address")) for row in group} - {None}),
            **_seen(group),
        }
        for (day, number, kind), group in groups.items()
    ]


def engage_metrics_daily(rows: Rows) -> list[Row]:
    groups: dict[tuple[date, str, str], list[tuple[bool, Row]]] = defaultdict(list)
    for table in ("context_hits", "context_misses"):
        for row in rows.get(table, []):
            names = (row.get("vendor") or "").strip() or NONE, (row.get("prefix") or "").strip() or NONE
            groups[row["event_at"].date(), *names].append((table == "context_hits", row))
    made = []
    for (day, vendor, prefix), group in groups.items():
        hits = [row for hit, row in group if hit]
        born = [(row, row.get("updated_at") or row.get("created_at")) for row in hits]
        ages = sorted(max(_whole_seconds(at, row["event_at"]), 0) for row, at in born if at is not None)
        made.append(
            {
                "event_date": day,
                "vendor": vendor,
                "prefix": prefix,
                "requests": len(group),
                "hits": len(hits),
                "misses": len(group) - len(hits),
                "hit_rate": ratio(len(hits), len(group)),
                "record_bytes": sum(row.get("record_size") or 0 for row in hits),
                "record_age_seconds_p50": _quantile(ages, 0.5),
                "record_age_seconds_p90": _quantile(ages, 0.9),
            }
        )
    return made


def _whole_seconds(begin: datetime, end: datetime) -> int:
    """Borders of seconds between two times, as DuckDB's date_diff counts them."""
    return int(end.replace(microsecond=0).timestamp()) - int(begin.replace(microsecond=0).timestamp())


def _quantile(ordered: list[int], share: float) -> int | None:
    """The least value that this share of them does not exceed."""
    return next((value for number, value in enumerate(ordered, 1) if number >= share * len(ordered)), None)
