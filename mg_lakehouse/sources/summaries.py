"""Reads MessageGears' own counts: of an account's day or month, and of a bulk job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Final, NamedTuple

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.sources.web_service import WebService, child_texts

__all__ = ["Summary", "account_summary", "bulk_job_summary"]

_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Summary(NamedTuple):
    """Counters by name in lower case, such as ``deliveries`` and ``spam_complaints``, and the texts beside them."""

    counts: Mapping[str, int]
    texts: Mapping[str, str]


def account_summary(service: WebService, period: date | str) -> Summary:
    """Read the account's counters of a day, or of a month given as ``2026-03``.

    Raises:
        PermanentError: the service refuses, or ``period`` is neither a day nor a month.
        TransientError: no try was answered.
    """
    text = str(period)
    if not re.fullmatch(r"\d{4}-\d{2}(-\d{2})?", text):
        raise PermanentError(f"Invalid day or month '{text}': use YYYY-MM-DD or YYYY-MM.")
    return _summary(service, f"The account summary of {text}", {"Action": "AccountSummary", "ActivityDate": text})


def bulk_job_summary(service: WebService, *, request_id: str | None = None, correlation_id: str | None = None) -> Summary:
    """Read the counters of a bulk job, by MessageGears' id of it or by the sender's own.

    Raises:
        PermanentError: the service refuses, or not exactly one id is given.
        TransientError: no try was answered.
    """
    ids = {"BulkJobRequestId": request_id, "BulkJobCorrelationId": correlation_id}
    named = {name: value for name, value in ids.items() if value}
    if len(named) != 1:
        raise PermanentError("A bulk job needs exactly one id: give its request id or its correlation id.")
    return _summary(service, f"The summary of the bulk job {next(iter(named.values()))}", {"Action": "BulkJobSummary", **named})


def _summary(service: WebService, what: str, form: Mapping[str, str]) -> Summary:
    texts: dict[str, str] = {}
    for node in service.document(what, form).iter():
        texts.update(child_texts(node))
    named = {_WORD.sub("_", name).lower(): text for name, text in texts.items() if text}
    counts = {name: int(text) for name, text in named.items() if re.fullmatch(r"\d{1,18}", text)}
    rest = {name: text for name, text in named.items() if name not in counts}
    return Summary(MappingProxyType(counts), MappingProxyType(rest))
