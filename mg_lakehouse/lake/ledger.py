"""The ledger: the counts of each commit of bronze and silver, in the commit's own metadata.

So a commit and its ledger are written together or not at all. Hours are UTC hours of receipt, written as ``2026-01-31T13``, for a
batch or slice may cross one. :mod:`mg_lakehouse.audit.conservation` adds the ledgers up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.lake.commit_log import commits_of, committed_at

__all__ = [
    "HOUR_FORMAT",
    "REDERIVED",
    "SKEW",
    "BatchLedger",
    "Posted",
    "RetryLedger",
    "SliceLedger",
    "hours_of",
    "ids_digest",
    "posted",
    "posted_batches",
    "posted_from",
    "posted_slices",
    "since",
]

HOUR_FORMAT: Final = "%Y-%m-%dT%H"
"""Format of an hour in a ledger."""

REDERIVED: Final = "mg.rederived"
"""Metadata key of a commit that rebuilt a silver day. It has no ledger, for it brings nothing that others do not count."""

SKEW: Final = timedelta(minutes=15)
"""How much earlier than its messages a commit may appear, where two clocks differ; AWS refuses more."""


@dataclass(frozen=True, slots=True)
class _Ledger:
    _KEY: ClassVar = "mg.ledger"

    def metadata(self) -> dict[str, str]:
        """Return the ledger as metadata of a Delta commit."""
        return {self._KEY: json.dumps(asdict(self), separators=(",", ":"))}

    @classmethod
    def from_commit(cls, commit: dict[str, Any]) -> Self | None:
        """Return the ledger of a commit, ``None`` if it has none. Fields unknown to this version are left out."""
        text = commit.get(cls._KEY)
        if text is None:
            return None
        known = cls.__dataclass_fields__
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


@dataclass(frozen=True, slots=True)
class BatchLedger(_Ledger):
    """The ledger of a bronze commit.

    ``received`` deliveries = ``new`` + ``repeated`` (the same message twice in the batch) + ``already`` (bronze had it). Deliveries of
    batches without a new message, and failed deletes, are in the ledger of the next commit. ``ids`` is
    :func:`ids_digest` of the new message ids; times are ISO 8601 in UTC, ``bytes`` those of the bodies. ``least_margin_seconds`` is the
    visibility left at the tightest delete before this commit; ``None`` for the first of a drain.
    """

    batch_id: str
    received: int
    new: int
    repeated: int
    already: int
    delete_failures: int
    bytes: int
    first_sent_at: str
    last_sent_at: str
    ids: str
    hours: dict[str, int] = field(default_factory=dict)
    least_margin_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class SliceLedger(_Ledger):
    """The ledger of a silver commit: bronze versions ``low + 1`` to ``high``, and the counts they gave.

    ``messages``, ``items``, ``counted`` and ``set_aside`` are of the slice, and only the ledger of ``rejected_items`` has them. ``set_aside`` counts items
    of messages that could not be flattened. ``counted`` is how many items there must be, by a count that uses no reader: ``items``, plus those that begin
    in bodies and are in no row and no reject; ``None`` in ledgers from before that count. ``hours`` are a table's duplicates by hour, in
    ``rejected_items`` the items.
    """

    source: str
    low: int
    high: int
    rows: int = 0
    duplicates: int = 0
    conflicts: int = 0
    messages: int = 0
    items: int = 0
    hours: dict[str, int] = field(default_factory=dict)
    set_aside: int = 0
    counted: int | None = None

    @property
    def uncovered(self) -> int:
        """Items that begin in bodies and are in no row and no reject."""
        return 0 if self.counted is None else self.counted - self.items


@dataclass(frozen=True, slots=True)
class RetryLedger(_Ledger):
    """The ledger of a commit that removes messages from ``set_aside_messages``, because they could be flattened after all.

    By source and hour: ``duplicates`` among their items, which are in no other ledger, and how many ``items`` they had beyond those that were set aside.
    """

    _KEY: ClassVar = "mg.retried"

    duplicates: dict[str, dict[str, int]] = field(default_factory=dict)
    items: dict[str, dict[str, int]] = field(default_factory=dict)


L = TypeVar("L", bound=_Ledger)


@dataclass(frozen=True, slots=True)
class Posted(Generic[L]):
    """A ledger in a table's log: with the commit's version and time, and the rows that Delta itself counted."""

    ledger: L
    version: int
    committed_at: datetime
    rows_added: int


def since(accounts: Iterable[Posted[L]], first: datetime) -> Iterator[Posted[L]]:
    """Yield those ledgers, newest first, that can be of messages received since a time."""
    return takewhile(lambda account: account.committed_at >= first - SKEW, accounts)


def posted_from(accounts: Iterable[Posted[L]], first: datetime) -> Iterator[Posted[L]]:
    """Yield those ledgers, newest first, that were committed at a time or later."""
    return takewhile(lambda account: account.committed_at >= first, accounts)


def posted_batches(bronze: DeltaTable) -> Iterator[Posted[BatchLedger]]:
    """Yield the ledgers of bronze's commits, newest first, as far back as the log goes. Read on demand."""
    return posted(bronze, BatchLedger)


def posted_slices(table: DeltaTable, source: str, above: int = -1) -> Iterator[Posted[SliceLedger]]:
    """Yield the ledgers of a silver table's commits of the bronze table ``source``, above bronze version ``above``, newest first."""
    for account in posted(table, SliceLedger):
        if account.ledger.source != source:
            continue
        if account.ledger.high <= above:
            return
        yield account


def posted(table: DeltaTable, kind: type[L]) -> Iterator[Posted[L]]:
    """Yield the ledgers of a table's commits, newest first, as far back as the log goes. Read on demand."""
    for commit in commits_of(table):
        ledger = kind.from_commit(commit)
        if ledger is not None:
            yield Posted(
                ledger, int(commit["version"]), committed_at(commit), int(commit.get("operationMetrics", {}).get("num_added_rows", 0))
            )


def hours_of(times: pl.Series) -> dict[str, int]:
    """Count UTC times by hour, in order."""
    counted = times.dt.truncate("1h").alias("hour").value_counts().sort("hour")
    return {hour.strftime(HOUR_FORMAT): count for hour, count in counted.iter_rows()}


def ids_digest(message_ids: Iterable[str]) -> str:
    """Return the SHA-256, in hex, of some message ids in any order: it shows whether a batch is whole."""
    return hashlib.sha256("\n".join(sorted(message_ids)).encode()).hexdigest()
