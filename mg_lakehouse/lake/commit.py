"""Commits exactly once: one change of a Delta table, whatever crashes or races.

``write_deltalake`` alone is at-least-once in disguise: an exception does not mean "not committed" (the
answer may be lost after the log entry was written), and two writers that both read first both append. Three
rules make it exact, and only this module implements them:

* open the table, read it, and write **through that same handle**. ``Transaction(app_id, version)`` is a
  compare-and-swap only on the handle whose ``transaction_version`` was read; with a URI, or a handle
  refreshed in between, delta-rs accepts a repeated or lower version (measured with 1.6.6);
* after any exception, wait and read again. The table decides, never the exception;
* the commit marks what it contains, so that the next read shows whether an earlier try was committed.

A commit that is reported is also on disk (:mod:`mg_lakehouse.lake.durable`).

The callers decide what is written and how a table shows that it has it already: :mod:`mg_lakehouse.bronze.append` and
:mod:`mg_lakehouse.silver.update` append, :mod:`mg_lakehouse.gold.commit` replaces.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import polars as pl
import pyarrow as pa
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)

from mg_lakehouse._util.backoff import backoff_seconds
from mg_lakehouse.errors import LakehouseError, PermanentError, TransientError
from mg_lakehouse.lake.durable import make_durable, sync_checkpoints
from mg_lakehouse.lake.errors import store_error, store_errors
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.lake import NO_HOOKS

__all__ = ["NO_HOOKS", "AlreadyCommitted", "Append", "OvertakenError", "Replace", "checkpoint", "commit_once", "replaced_file_bytes"]

Result = TypeVar("Result")

_ATTEMPTS: Final = 8
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 30.0

# A dictionary saves nothing where values hardly repeat: it doubles the memory of a write of bodies, and without one for ids 84,000 deliveries took 8 % less time and space.
_WRITER: Final = WriterProperties(
    compression="ZSTD",
    column_properties={name: ColumnProperties(dictionary_enabled=False) for name in ("body", "activity_id", "recipient_id", "event_at")},
)

_CHECKPOINT_EVERY: Final = 50

_REPLACED_FILE_BYTES: Final = 8 * 2**20
"""A replacement rewrites whole files, so they stay small: replacing 20 jobs of 10 M rows took 5.7 s of CPU with files of 32 MiB and 3.5 s with these."""

_REPLACED_FILE_ROWS: Final = 131_072
"""Where rows are small, 8 MiB is a whole table: replacing 20 jobs of 1.8 M rows of 3 bytes took 1.3 s of CPU in one file and 0.2 s in files of this many rows."""

_LEAST_FILE_BYTES: Final = 512 * 2**10
"""Below it, delta-rs (1.6.6) ends files early, for it counts pages before compression: of 6 bytes a row 10,000 to a file of 256 KiB."""

# Rows that are rewritten often are compressed lightly: at level 3, and with dictionaries of keys that hardly repeat, 500,000 violations took
# 1.0 s of CPU and 34.9 MB, with these settings 0.43 s and 35.5 MB; messages 1.3 s and 33.9 MB, and 1.1 s and 36.5 MB.
_REPLACER: Final = WriterProperties(
    compression="ZSTD",
    compression_level=1,
    max_row_group_size=_REPLACED_FILE_ROWS,
    column_properties={name: ColumnProperties(dictionary_enabled=False) for name in ("address", "address_hash", "recipient_key")},
)


class OvertakenError(TransientError):
    """The table has changed since the rows were made: a retry would write outdated rows."""


@dataclass(frozen=True, slots=True)
class AlreadyCommitted(Generic[Result]):
    """The table has the change already, or there is nothing to write."""

    result: Result


@dataclass(frozen=True, slots=True)
class Append(Generic[Result]):
    """Append these rows with these transactions; ``metadata`` goes into the commit for the audit.

    Without ``others_may_commit`` the commit is to the very next version or not at all: whatever came between, the table is read again.
    """

    rows: pl.DataFrame
    transactions: Sequence[Transaction]
    result: Result
    metadata: Mapping[str, str] = field(default_factory=dict)
    others_may_commit: bool = True


@dataclass(frozen=True, slots=True)
class Replace(Generic[Result]):
    """Replace the rows that ``predicate`` selects (all if ``None``) by these, with these transactions.

    ``rows`` makes them for each try, for a stream can be read only once. With ``new_schema`` their columns replace the table's.
    With ``others_may_commit`` the commit may follow others that did not change the same rows. For a predicate on the partition column delta-rs
    (1.6.6) checks that, appends to the partition and compactions of it included; a test holds this.
    """

    rows: Callable[[], pa.RecordBatchReader]
    predicate: str | None
    new_schema: bool
    transactions: Sequence[Transaction]
    result: Result
    metadata: Mapping[str, str] = field(default_factory=dict)
    others_may_commit: bool = False


Decision = AlreadyCommitted[Result] | Append[Result] | Replace[Result]


def commit_once(what: str, open_table: Callable[[], DeltaTable], decide: Callable[[DeltaTable], Decision[Result]]) -> Result:
    """Open the table, read it, and write through the same handle; after any exception read it again.

    Args:
        what: the table, for error texts.
        open_table: opens the table at its newest version.
        decide: reads the handle and returns what is left to write. Called for each try.

    Raises:
        PermanentError: access is refused or the disk is full, and the table shows that nothing was committed; or the commit could not be synced.
        OvertakenError: ``decide`` raised it.
        TransientError: several tries in about half a minute committed nothing; a store that fails slowly makes the last one longer.
    """
    failure: Exception | None = None
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for attempt in range(_ATTEMPTS):
        if attempt:
            if time.monotonic() > deadline:
                break
            _wait(attempt)
        try:
            with store_errors(what):
                handle = open_table()
                decision = decide(handle)
        except OvertakenError:
            raise
        except TransientError as error:  # an answer that was cut off is no reason to release a whole batch
            failure = error
            continue
        if isinstance(decision, AlreadyCommitted):
            make_durable(handle)  # the process that committed it may have died before that
            return decision.result
        if failure is not None and isinstance(classified := _classified(failure, what), PermanentError):
            raise classified from failure
        try:
            reached(Failpoint.COMMIT_DECIDED, what)
            version = handle.version()
            _append(handle, decision) if isinstance(decision, Append) else _replace(handle, decision)
            reached(Failpoint.COMMIT_DONE, what)
        except Exception as error:  # noqa: BLE001  whatever the error, the table decides
            failure = error
            continue
        # Not retried: a second sync of a file succeeds although the first one lost its content.
        make_durable(handle)
        checkpoint(handle, since=version)
        return decision.result
    assert failure is not None
    raise _classified(failure, what) from failure


def _classified(failure: Exception, what: str) -> LakehouseError:
    return failure if isinstance(failure, LakehouseError) else store_error(failure, what)


def _wait(attempt: int) -> None:
    time.sleep(backoff_seconds(attempt, first=_FIRST_WAIT_SECONDS, longest=_LONGEST_WAIT_SECONDS))


def _append(handle: DeltaTable, append: Append[Any]) -> None:
    write_deltalake(
        handle,
        # Not every engine reads string_view, Polars' own type.
        append.rows.to_arrow(compat_level=pl.CompatLevel.oldest()),
        mode="append",
        writer_properties=_WRITER,
        commit_properties=_properties(append, max_commit_retries=None if append.others_may_commit else 0),
        post_commithook_properties=NO_HOOKS,
    )


def _replace(handle: DeltaTable, replacement: Replace[Any]) -> None:
    write_deltalake(
        handle,
        replacement.rows(),
        mode="overwrite",
        predicate=replacement.predicate,
        schema_mode="overwrite" if replacement.new_schema else None,
        target_file_size=replaced_file_bytes(handle),
        writer_properties=_REPLACER,
        # To the very next version or not at all. By default delta-rs (1.6.6) commits a whole overwrite after a compaction that it
        # did not see: the old rows stay, in the compacted file, beside the new ones.
        commit_properties=_properties(replacement, max_commit_retries=None if replacement.others_may_commit else 0),
        post_commithook_properties=NO_HOOKS,
    )


def replaced_file_bytes(handle: DeltaTable) -> int:
    """Return the target size, in bytes, of files whose rows are replaced: about 131,072 of the table's rows, within 512 KiB and 8 MiB.

    An empty table does not show the size of its rows: its files get 8 MiB, and later replacements in them resize the files.
    """
    files = pl.DataFrame(handle.get_add_actions(flatten=True))
    rows, size = int(files["num_records"].sum()), int(files["size_bytes"].sum())
    file_bytes = size * _REPLACED_FILE_ROWS // rows if rows else _REPLACED_FILE_BYTES
    return min(_REPLACED_FILE_BYTES, max(_LEAST_FILE_BYTES, file_bytes))


def _properties(decision: Append[Any] | Replace[Any], *, max_commit_retries: int | None = None) -> CommitProperties:
    return CommitProperties(
        custom_metadata=dict(decision.metadata), app_transactions=list(decision.transactions), max_commit_retries=max_commit_retries
    )


def checkpoint(handle: DeltaTable, *, since: int) -> None:
    """Write a checkpoint if one of every ``_CHECKPOINT_EVERY`` versions came since a version. A failure has no consequence.

    It spares later readers those entries, but it is no gain in itself: an open 50 ms away took 0.24 s with 10 entries, which are read side by side,
    0.35 s with 50, and 0.75 s with a checkpoint, whose parts are read one after another.
    """
    if handle.version() // _CHECKPOINT_EVERY == since // _CHECKPOINT_EVERY:
        return
    with contextlib.suppress(Exception):  # the next one will do
        handle.create_checkpoint()
        sync_checkpoints(handle)
