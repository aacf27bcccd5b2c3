"""The ledger: what each commit of bronze and silver says of itself, in the commit's own metadata.

So a commit and its account land together or not at all. Hours are UTC hours of receiving, written as ``2026-01-31T13``, for a
batch or slice may straddle one. What the accounts add up to is :mod:`mg_lakehouse.audit.conservation`'s business.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

import polars as pl
from deltalake import DeltaTable

__all__ = [
    "HOUR_FORMAT",
    "REDERIVED",
    "SKEW",
    "BatchLedger",
    "Posted",
    "RetryLedger",
    "SliceLedger",
    "commits_of",
    "committed_at",
    "hours_of",
    "ids_digest",
    "log_begins",
    "posted",
    "posted_batches",
    "posted_slices",
    "since",
]

HOUR_FORMAT: Final = "%Y-%m-%dT%H"
"""How a ledger writes an hour."""

REDERIVED: Final = "mg.rederived"
"""What a commit of a silver day that was made anew says of itself; it has no ledger, for it brings nothing that was not accounted for."""

SKEW: Final = timedelta(minutes=15)
"""How much earlier than its messages a commit may seem to be made, where two clocks differ; AWS refuses more."""

_FIRST_LOOK: Final = 8


@dataclass(frozen=True, slots=True)
class _Ledger:
    _KEY: ClassVar = "mg.ledger"

    def metadata(self) -> dict[str, str]:
        """As metadata of a Delta commit."""
        return {self._KEY: json.dumps(asdict(self), separators=(",", ":"))}

    @classmethod
    def of(cls, commit: dict[str, Any]) -> Self | None:
        """The ledger of a commit, ``None`` where it has none. Fields that this version does not know are left out."""
        text = commit.get(cls._KEY)
        if text is None:
            return None
        known = cls.__dataclass_fields__
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


@dataclass(frozen=True, slots=True)
class BatchLedger(_Ledger):
    """The account of a bronze commit.

    ``received`` deliveries = ``new`` + ``repeated`` (the same message twice in the batch) + ``already`` (bronze had it). Deliveries of
    batches that brought nothing new, and deletes that failed, are in the account of the next commit. ``ids`` is
    :func:`ids_digest` of the new message ids; times are ISO 8601 in UTC, ``bytes`` those of the bodies. ``least_margin_seconds`` is the
    visibility that was left at the tightest delete before this commit; ``None`` for the first of a drain.
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
    """The account of a silver commit: bronze versions ``low + 1`` to ``high`` and the numbers they gave.

    ``messages``, ``items`` and ``counted`` are of the slice and stand in the ledger of ``rejected_items`` only, and so does ``set_aside``: items of
    messages that could not be flattened. ``counted`` is how many items there must be, by a count that knows no reader: ``items``, and those that begin
    in bodies and are in no row and no reject. ``None`` in ledgers of before there was one. ``hours`` are the duplicates of a table by hour, in
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
    """The account of a commit that takes messages off ``set_aside_messages``, because they were flattened after all.

    By source and hour: ``duplicates`` among their items, which stand in no other account, and how many ``items`` they had beyond those that were set aside.
    """

    _KEY: ClassVar = "mg.retried"

    duplicates: dict[str, dict[str, int]] = field(default_factory=dict)
    items: dict[str, dict[str, int]] = field(default_factory=dict)


L = TypeVar("L", bound=_Ledger)


@dataclass(frozen=True, slots=True)
class Posted(Generic[L]):
    """A ledger as it stands in a table: with the commit's version and time, and the rows that Delta itself counted."""

    ledger: L
    version: int
    committed_at: datetime
    rows_added: int


def since(accounts: Iterable[Posted[L]], first: datetime) -> Iterator[Posted[L]]:
    """Those of some accounts, newest first, that can be of messages received since a time."""
    return takewhile(lambda each: each.committed_at >= first - SKEW, accounts)


def posted_batches(bronze: DeltaTable) -> Iterator[Posted[BatchLedger]]:
    """Accounts of bronze's commits, newest first, as far back as the log goes. Read as they are asked for."""
    return posted(bronze, BatchLedger)


def posted_slices(table: DeltaTable, source: str, above: int = -1) -> Iterator[Posted[SliceLedger]]:
    """Accounts of a silver table's commits of the bronze table ``source``, above bronze version ``above``, newest first."""
    for each in posted(table, SliceLedger):
        if each.ledger.source != source:
            continue
        if each.ledger.high <= above:
            return
        yield each


def posted(table: DeltaTable, kind: type[L]) -> Iterator[Posted[L]]:
    """Accounts of a table's commits, newest first, as far back as the log goes. Read as they are asked for."""
    for commit in commits_of(table):
        ledger = kind.of(commit)
        if ledger is not None:
            yield Posted(
                ledger, int(commit["version"]), committed_at(commit), int(commit.get("operationMetrics", {}).get("num_added_rows", 0))
            )


def commits_of(table: DeltaTable, *, first_look: int = _FIRST_LOOK) -> Iterator[dict[str, Any]]:
    """Commits up to the handle's version, newest first, read in growing numbers: whoever wants the newest pays for few.

    delta-rs (1.6.6) reads on to the log's newest version and yet numbers from the handle's: where another writer committed in
    between, each commit would bear a number that is too low, and beside an ingest the books of an hour did not balance. Asked for
    one, it gives the handle's own behind all newer ones; by that it is known again in later answers.
    """
    newest = table.history(1)[-1:]
    yield from (commit | {"version": table.version()} for commit in newest)
    seen, limit = len(newest), first_look
    while seen:
        commits = [_content(commit) for commit in table.history(limit)]
        own = commits[commits.index(_content(newest[0])) :]
        yield from (commit | {"version": table.version() - at} for at, commit in enumerate(own[seen:], seen))
        if len(own) < limit:
            return
        seen, limit = len(own), limit * 4


def log_begins(table: DeltaTable) -> datetime | None:
    """When the log's oldest entry was written; ``None`` where it goes back to the table's first. Reads the whole log."""
    oldest = deque(commits_of(table), maxlen=1)[0]
    return None if oldest["version"] == 0 else committed_at(oldest)


def committed_at(commit: dict[str, Any]) -> datetime:
    """When a commit of :func:`commits_of` was made."""
    return datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)


def _content(commit: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in commit.items() if name != "version"}


def hours_of(times: pl.Series) -> dict[str, int]:
    """How many of some UTC times lie in each hour, in order."""
    counted = times.dt.truncate("1h").alias("hour").value_counts().sort("hour")
    return {hour.strftime(HOUR_FORMAT): count for hour, count in counted.iter_rows()}


def ids_digest(message_ids: Iterable[str]) -> str:
    """SHA-256, in hex, of some message ids whatever their order: it tells whether a batch is whole."""
    return hashlib.sha256("\n".join(sorted(message_ids)).encode()).hexdigest()
