"""A history of silver, written in bulk: the rows and the layout that years of micro-batches and nightly maintenance leave.

A sender sends ``JOBS`` jobs a day, ``ROWS_A_DAY`` events in all, and history grows by days, never by a busier day: what a batch
meets on its own day is the same in a small and in a large history. A closed day is one file a table, sorted by time.
Deliveries and bounces are of the day's own jobs; of opens and clicks six in ten are, nine in ten of the rest of jobs of the month
before, and the others of jobs of up to a year ago, whether the history reaches back to them or not, as in a lake that begins
one day. Bronze has a message for ten events, without bodies, and silver's progress stands at its newest version, so that the
pipeline goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import numpy as np
import polars as pl
from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake

from benchmarks.data.columns import Ints, addresses, agents, emails, job_ids, person_of, recipients, urls, uuids
from mg_lakehouse.bronze.tables import BRONZE_SCHEMA, EVENT_FEED
from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.events.schemas import TIMESTAMP, silver_schema
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.known_ids import known_ids
from mg_lakehouse.silver.tables import silver_spec

__all__ = ["LAST_DAY", "LONGEST_DAYS", "ROWS_A_DAY", "SHARES", "History"]

LAST_DAY: Final = date(2026, 3, 20)
"""The day of the micro-batches; the history ends with the day before it."""

ROWS_A_DAY: Final = 250_000
JOBS: Final = 10
LONGEST_DAYS: Final = 365
_FIRST_DAY: Final = date(2020, 1, 1)  # of job number 0, before any history
_BATCHES: Final = 10_000_000  # seeds of micro-batches, apart from those of days
SHARES: Final = {"deliveries": 0.62, "opens": 0.28, "clicks": 0.06, "bounces": 0.04}
_TO_A_MESSAGE: Final = 10
_WRITER: Final = WriterProperties(compression="ZSTD", column_properties={"activity_id": ColumnProperties(dictionary_enabled=False)})
_BOUNCES: Final = (
    ("Invalid Recipient", 10),
    ("Mailbox Full", 22),
    ("Spam Block", 51),
    ("Transient Failure", 70),
    ("Hardbounce Suppression", 130),
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch of a day: hours from its begin in which events happen."""

    day: date
    first_hour: float = 0.0
    last_hour: float = 23.9


@dataclass(frozen=True, slots=True)
class History:
    """A history of ``days`` days that ends before :data:`LAST_DAY`.

    A longer one is a shorter one and older days before it, row for row, so that a lake can grow from one to the next.
    """

    days: int
    rows_a_day: int = ROWS_A_DAY
    seed: int = 7

    @classmethod
    def of_rows(cls, rows: int, *, rows_a_day: int = ROWS_A_DAY) -> History:
        """The history with about so many rows, at least a day."""
        return cls(max(1, round(rows / rows_a_day)), rows_a_day)

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return self.days * sum(self._count(table) for table in SHARES)

    def write(self, lake: Lake, *, behind: int = 0) -> None:
        """Write the days that the lake lacks; it has the newest ``behind`` days. Each day is a commit and a file a table."""
        for back in range(behind + 1, self.days + 1):
            self._write_day(lake, back)
        _advance(lake)

    def batch(self, number: int, *, count: int, longest_days: int = 1) -> Iterator[tuple[str, pl.DataFrame]]:
        """Rows of a micro-batch of ``count`` events, by table, within two minutes of the day after the history.

        Its opens and clicks are of jobs of the last ``longest_days`` days, which every history holds whole: so a batch touches the
        same jobs with the same number of rows, however long the history is.
        """
        hour = 10.0 + number * 0.05
        for index, (table, share) in enumerate(SHARES.items()):
            rng = np.random.default_rng((self.seed, _BATCHES + number * len(SHARES) + index))
            yield table, _rows(self, table, Moment(LAST_DAY, hour, hour + 0.04), round(count * share), rng, longest_days=longest_days)

    def _count(self, table: str) -> int:
        return round(self.rows_a_day * SHARES[table])

    def _write_day(self, lake: Lake, back: int) -> None:
        day = LAST_DAY - timedelta(days=back)
        for index, table in enumerate(SHARES):
            rng = np.random.default_rng((self.seed, back * len(SHARES) + index))
            _append(lake.ensure(silver_spec(table)), _rows(self, table, Moment(day), self._count(table), rng, longest_days=LONGEST_DAYS))
        _append(lake.ensure(EVENT_FEED), _messages(day, self.rows_a_day // _TO_A_MESSAGE, np.random.default_rng((self.seed, back))))


def _advance(lake: Lake) -> None:
    """Note in silver that it has all of bronze, and leave checkpoints and known ids as maintenance does."""
    bronze = lake.ensure(EVENT_FEED)
    rejected = lake.ensure(silver_spec(REJECTED_ITEMS))
    done = Transaction(f"silver:{bronze.metadata().id}", bronze.version())
    nothing = pl.DataFrame(schema=silver_schema(REJECTED_ITEMS)).to_arrow(compat_level=pl.CompatLevel.oldest())
    write_deltalake(rejected, nothing, mode="append", commit_properties=CommitProperties(app_transactions=[done]))
    for spec in (EVENT_FEED, *(silver_spec(table) for table in (*SHARES, REJECTED_ITEMS))):
        lake.ensure(spec).create_checkpoint()
    for table in SHARES:
        known_ids(lake, lake.ensure(silver_spec(table))).write()


def _rows(history: History, table: str, moment: Moment, count: int, rng: np.random.Generator, *, longest_days: int) -> pl.DataFrame:
    """``count`` rows of a table that happen within a moment, in the order of their times."""
    ages = _ages(count, rng, longest_days) if table in ("opens", "clicks") else np.zeros(count, dtype=np.int64)
    job = ((moment.day - _FIRST_DAY).days - ages) * JOBS + rng.integers(0, JOBS, count)
    message = _message_numbers(history, table, count, rng)
    hours = np.sort(rng.uniform(moment.first_hour, moment.last_hour, count))
    begin = datetime.combine(moment.day, time.min, UTC)
    micros = (hours * 3_600_000).astype(np.int64) * 1_000
    people = person_of(job, message)
    jobs = range(int(job.min()), int(job.max()) + 1)
    ids = job_ids(jobs, _FIRST_DAY, JOBS)
    near = job - jobs.start
    frame = pl.DataFrame(
        {
            "activity_id": uuids(count, rng),
            "request_id": ids.gather(near),
            "recipient_id": recipients().gather(people),
            "email_address": emails().gather(people),
            "ip_address": addresses(count, rng),
            "job": job,
            "message_id": uuids(-(-count // _TO_A_MESSAGE), rng).gather(np.arange(count) // _TO_A_MESSAGE),
            "item_index": np.arange(count) % _TO_A_MESSAGE,
        }
    ).with_columns(
        event_at=(pl.lit(begin).cast(TIMESTAMP) + pl.Series(micros).cast(pl.Duration("us"))),
        event_date=pl.lit(moment.day),
        received_date=pl.lit(moment.day),
        utc_offset_minutes=pl.lit(0, pl.Int64),
        correlation_id=pl.format("Newsletter {}", pl.col("job") % 1_000),
        job_category=pl.lit("Newsletter"),
        source=pl.lit("event_feed"),
        **_own(table, count, rng),
    )
    whole = frame.with_columns(received_at=pl.col("event_at") + timedelta(seconds=40))
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in silver_schema(table).items() if name not in whole.columns]
    return whole.with_columns(missing).select(silver_schema(table).names()).cast(silver_schema(table))


def _ages(count: int, rng: np.random.Generator, longest_days: int) -> Ints:
    """Days between a job and its open or click."""
    month = np.floor(np.exp(rng.uniform(0.0, np.log(31.0), count)))
    year = np.floor(np.exp(rng.uniform(np.log(30.0), np.log(LONGEST_DAYS + 1.0), count)))
    luck = rng.random(count)
    ages = np.where(luck < 0.6, 0.0, np.where(luck < 0.96, month, year)).astype(np.int64)
    return ages % (longest_days + 1) if longest_days < LONGEST_DAYS else ages


def _message_numbers(history: History, table: str, count: int, rng: np.random.Generator) -> Ints:
    """Which of its job's messages an event is of. Deliveries take each once; bounces are of others, opens and clicks of delivered ones."""
    delivered = max(1, round(history.rows_a_day * SHARES["deliveries"] / JOBS))
    if table == "deliveries":
        return rng.permutation(count) % delivered if count >= delivered else rng.integers(0, delivered, count)
    if table == "bounces":
        return delivered + rng.integers(0, max(1, round(history.rows_a_day * SHARES["bounces"] / JOBS)), count)
    return rng.integers(0, delivered, count)


def _own(table: str, count: int, rng: np.random.Generator) -> dict[str, pl.Series | pl.Expr]:
    """Columns that one table has beyond the common ones."""
    if table in ("deliveries", "bounces"):
        size: dict[str, pl.Series | pl.Expr] = {"message_size": pl.Series(rng.integers(9_000, 120_000, count))}
        if table == "deliveries":
            return size
        kind = rng.integers(0, len(_BOUNCES), count)
        return size | {
            "category": pl.Series([name for name, _ in _BOUNCES]).gather(kind),
            "category_code": pl.Series([code for _, code in _BOUNCES], dtype=pl.Int64).gather(kind),
            "details": pl.lit("550 5.1.1 recipient address rejected: user unknown"),
        }
    engaged: dict[str, pl.Series | pl.Expr] = {"user_agent": agents(count, rng)}
    return engaged if table == "opens" else engaged | {"url": urls(count, rng), "url_name": pl.lit("Offer"), "url_id": pl.lit("offer")}


def _messages(day: date, count: int, rng: np.random.Generator) -> pl.DataFrame:
    begin = datetime.combine(day, time.min, UTC)
    micros = np.sort(rng.integers(0, 86_000_000, count)) * 1_000
    return (
        pl.DataFrame({"message_id": uuids(count, rng)})
        .with_columns(
            body=pl.lit("<ActivityItems/>"),
            body_sha256=pl.lit("0" * 64),
            received_at=pl.lit(begin).cast(TIMESTAMP) + pl.Series(micros).cast(pl.Duration("us")),
            receive_count=pl.lit(1, pl.Int64),
            attributes=pl.lit("{}"),
            queue=pl.lit("messagegears-events"),
            batch_id=pl.lit("history"),
            received_date=pl.lit(day),
            envelope=pl.lit(None),
        )
        .with_columns(sent_at=pl.col("received_at") - timedelta(seconds=2))
        .select(BRONZE_SCHEMA.names())
        .cast(BRONZE_SCHEMA)
    )


def _append(handle: DeltaTable, rows: pl.DataFrame) -> None:
    write_deltalake(handle, rows.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append", writer_properties=_WRITER)
