"""Sets messages aside whose flattening failed twice in the same way, for an unforeseen reason.

They stay in bronze. Rows of ``silver/set_aside_messages`` name them, the reason, and how many items each lacks in silver: so the books balance,
and every other message goes on. A rebuild of the days (:mod:`mg_lakehouse.silver.rebuild`) tries them again. The table is created with its first
row: a lake without such messages has none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NamedTuple, TypeVar

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import SET_ASIDE
from mg_lakehouse.events.culprits import ContentError, TooManyCulpritsError, content_errors, sparing
from mg_lakehouse.events.flatten import Flattened, flatten
from mg_lakehouse.events.formats.envelopes import unwrap
from mg_lakehouse.events.item_count import count_starts
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import all_files
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import HOUR_FORMAT, RetryLedger

__all__ = [
    "AT_MOST",
    "Retried",
    "SetAside",
    "count_set_aside",
    "flatten_or_set_aside",
    "missing_rows",
    "read_set_aside",
    "set_aside_days",
    "set_aside_message",
    "sift",
    "too_many",
]

Result = TypeVar("Result")

AT_MOST: Final = 10
"""Messages that one slice, and one run, may set aside. More are our bug, not odd messages, and an alarm "10,000 set aside" would come too late."""


class SetAside(NamedTuple):
    """What is set aside: messages, items, and messages by reason."""

    messages: int
    items: int
    reasons: Mapping[str, int]


def flatten_or_set_aside(messages: pl.DataFrame, *, source: str, carry: tuple[str, ...]) -> tuple[Flattened, pl.DataFrame]:
    """Flatten messages as :func:`~mg_lakehouse.events.flatten.flatten` does, without those that make it fail.

    Returns:
        The flattened messages, and for the others rows of ``set_aside_messages`` with the carried columns behind them.

    Raises:
        PermanentError: more than ``AT_MOST`` messages fail.
    """

    def work(some: pl.DataFrame) -> Flattened:
        with content_errors():
            return flatten(some, source=source, carry=carry)

    flattened, reasons = sift(messages, work, f"of bronze/{source}")
    left_out = messages.filter(pl.col("message_id").is_in(list(reasons))) if reasons else messages.clear()
    items = pl.Series("items", [_items(body) for body in left_out["body"]], pl.Int64)
    rows = left_out.with_columns(items, silver_table=pl.lit(None, pl.String), source=pl.lit(source))
    return flattened, _rows(rows, reasons, carry)


def _items(body: str) -> int:
    """Count the items that begin in a body that cannot be flattened, at least one. The count uses none of the readers."""
    with suppress(ContentError), content_errors():
        return max(1, count_starts(unwrap(body).text.encode()))
    return 1


def missing_rows(rows: pl.DataFrame, table: str, reasons: Mapping[str, str], carry: tuple[str, ...]) -> pl.DataFrame:
    """Make rows of ``set_aside_messages`` for rows of a silver table that failed to commit or were left out; ``reasons`` by message."""
    counted = rows.group_by("message_id", "source", "received_at", "received_date", *carry, maintain_order=True).len("items")
    return _rows(counted.with_columns(pl.col("items").cast(pl.Int64), silver_table=pl.lit(table)), reasons, carry)


def sift(rows: pl.DataFrame, work: Callable[[pl.DataFrame], Result], what: str) -> tuple[Result, dict[str, str]]:
    """Apply a function to rows, without those of messages that make it fail. Returns the result, and the reasons by message.

    Args:
        rows: any rows with ``message_id``.
        work: the function; called with some of the rows.
        what: describes the messages in an error's text.

    Raises:
        PermanentError: more than ``AT_MOST`` messages fail.
    """
    messages = rows["message_id"].unique(maintain_order=True).to_list()

    def work_on(some: Sequence[str]) -> Result:
        return work(rows if len(some) == len(messages) else rows.filter(pl.col("message_id").is_in(list(some))))

    try:
        return sparing(messages, work_on, at_most=AT_MOST)
    except TooManyCulpritsError as error:
        raise too_many(what, error.reason) from error


def too_many(what: str, reason: str) -> PermanentError:
    """Make the error for more failing messages than may be set aside."""
    return PermanentError(
        f"More than {AT_MOST} messages {what} cannot be flattened ({reason}): that is a bug of mg-lakehouse, not odd messages. "
        "Nothing is lost, bronze has them: upgrade mg-lakehouse, or report this line."
    )


def _rows(rows: pl.DataFrame, reasons: Mapping[str, str], carry: tuple[str, ...]) -> pl.DataFrame:
    schema = silver_schema(SET_ASIDE)
    reason = pl.Series("reason", [reasons[message] for message in rows["message_id"]], pl.String)
    return (
        rows.with_columns(reason).select(*schema.names(), *carry).cast(pl.Schema({**schema, **{name: rows.schema[name] for name in carry}}))
    )


def read_set_aside(lake: Lake, days: Collection[date] | None = None) -> pl.DataFrame:
    """Read rows of ``set_aside_messages`` as it is now, of some days of receipt or of all.

    Raises:
        PermanentError, TransientError: the table cannot be read.
    """
    return _read(lake, lake.open("silver", SET_ASIDE), days)


def _read(lake: Lake, handle: DeltaTable | None, days: Collection[date] | None = None) -> pl.DataFrame:
    schema = silver_schema(SET_ASIDE)
    if handle is None or not (files := all_files(handle)):
        return pl.DataFrame(schema=schema)
    with store_errors(f"silver/{SET_ASIDE} in the lake {lake.uri}"):
        # The partition column is in no file.
        rows = lake.scan(files, handle).with_columns(received_date=pl.col("received_at").dt.date())
        return (rows if days is None else rows.filter(pl.col("received_date").is_in(list(days)))).select(schema.names()).collect()


@dataclass(slots=True)
class Retried:
    """Follows a day's set-aside messages through its rebuild: ``held`` are their rows in ``set_aside_messages``.

    If not all tables are rebuilt (``ends`` is false), the messages stay set aside, and the tables get none of their items.
    """

    held: pl.DataFrame
    ends: bool
    _failing: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))
    _items: dict[str, pl.DataFrame] = field(default_factory=dict)
    _duplicates: dict[str, pl.DataFrame] = field(default_factory=dict)

    def fail(self, rows: pl.DataFrame, what: str) -> None:
        """Record the messages that cannot be flattened now: rows of ``set_aside_messages``, some of which may be held already.

        Raises:
            PermanentError: more than ``AT_MOST`` of them fail for the first time.
        """
        new = rows.join(self.held.filter(pl.col("silver_table").is_null()), on="message_id", how="anti")
        self._failing = new["message_id"]
        if new.height > AT_MOST:
            reasons = "; ".join(new["reason"].unique().sort())
            raise too_many(what, reasons)

    def refuse_to_lose(self, current: pl.DataFrame, table: str, what: str) -> None:
        """Refuse to rebuild a table with rows of a message that can no longer be flattened: those rows would be lost.

        Raises:
            PermanentError: there are such rows.
        """
        lost = current.filter(pl.col("message_id").is_in(self._failing.implode()))["message_id"].n_unique() if table != SET_ASIDE else 0
        if lost:
            raise PermanentError(
                f"{what} has rows of {lost:,} messages that this mg-lakehouse cannot flatten. A rebuild would remove them: nothing was changed. "
                "That is a bug of mg-lakehouse: rebuild the day with the release that wrote them, or with one that fixes it."
            )

    def allowed(self, table: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that a table may have."""
        return rows if self.ends or self.held.is_empty() else rows.join(self._rows_of(table), on="message_id", how="anti")

    def found(self, table: str, rows: pl.DataFrame, *kept: pl.DataFrame) -> None:
        """Record what a table was given: all rows, and those that it has or that were rejected as conflicts."""
        if self.held.is_empty():
            return
        own = rows.join(self._rows_of(table), on="message_id", how="semi")
        self._items[table] = own.select("message_id")
        for frame in kept:
            own = own.join(frame, on=["message_id", "item_index"], how="anti", nulls_equal=True)
        if own.height:
            self._duplicates[table] = own.select("source", "received_at")

    def ledger(self, still: pl.Series) -> RetryLedger:
        """Make the ledger of the commit that removes the messages from the table, but for those that are ``still`` set aside."""
        read = self.held.filter(pl.col("silver_table").is_null() & ~pl.col("message_id").is_in(still.implode()))
        items = pl.concat([pl.DataFrame(schema={"message_id": pl.String}), *self._items.values()]).group_by("message_id").len("found")
        more = read.join(items, on="message_id", how="left").select(
            "source", "received_at", n=pl.col("found").fill_null(0).cast(pl.Int64) - pl.col("items")
        )
        duplicates = pl.concat([self.held.select("source", "received_at").clear(), *self._duplicates.values()])
        return RetryLedger(_by_hour(duplicates.with_columns(n=pl.lit(1, pl.Int64))), _by_hour(more))

    def _rows_of(self, table: str) -> pl.DataFrame:
        missing = pl.col("silver_table").is_null() | (pl.col("silver_table") == table)
        return self.held.filter(missing).select("message_id").unique()


def _by_hour(rows: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Sum ``n`` by source and UTC hour of receipt."""
    hour = pl.col("received_at").dt.strftime(HOUR_FORMAT).alias("hour")
    sums = rows.group_by("source", hour).agg(pl.col("n").sum()).filter(pl.col("n") != 0).sort("source", "hour")
    hours: dict[str, dict[str, int]] = {}
    for source, at, n in sums.iter_rows():
        hours.setdefault(source, {})[at] = n
    return hours


def count_set_aside(lake: Lake, handle: DeltaTable | None) -> SetAside:
    """Count what is set aside: the rows of ``set_aside_messages``, none if there is no table.

    Raises:
        PermanentError, TransientError: the table cannot be read.
    """
    rows = _read(lake, handle)
    reasons = rows.group_by("reason").agg(pl.col("message_id").n_unique()).sort("message_id", "reason", descending=[True, False])
    return SetAside(rows["message_id"].n_unique(), int(rows["items"].sum()), dict(reasons.iter_rows()))


def set_aside_message(found: SetAside) -> str:
    """Describe what is set aside, with the remedy."""
    return (
        f"{found.messages:,} messages are set aside ({found.items:,} items): flattening them failed, and bronze has them. "
        "Upgrade mg-lakehouse, or report the reasons in silver/set_aside_messages; then `mg-lakehouse retry` flattens them again."
    )


def set_aside_days(lake: Lake) -> list[date]:
    """List the UTC days of receipt of what is set aside, in order: `mg-lakehouse retry` rebuilds these days.

    Raises:
        PermanentError, TransientError: the table cannot be read.
    """
    return read_set_aside(lake)["received_date"].unique().sort().to_list()
