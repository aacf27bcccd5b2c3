"""The protocol's decisive moments, forced in one process: each function fails where an invariant breaks.

They are run on the code as it is (`test_protocol.py`), and on the code broken on purpose, where they must fail (`test_mutations.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.bronze.append import append_batch
from mg_lakehouse.bronze.event_feed import DrainReport, drain
from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.lake import failpoints
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.location import Layer
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.slices import slices_of
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.sources.sqs import EventQueue
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import Fault, SqsEmulator, VirtualClock
from mg_lakehouse_tests.faults.invariants import column, in_bronze_once, nothing_is_twice
from mg_lakehouse_tests.lake.feeds import batch, receive

Scenario = Callable[[Lake, SqsEmulator], None]

BODIES: Final = {f"m{number}": f"<ActivityItems><!-- {number} --></ActivityItems>" for number in range(7)}


_VISIBILITY: Final = 30


class Died(BaseException):
    """The process ends here; nothing catches it."""


@contextmanager
def at(point: Failpoint, act: Callable[[], None], *, about: str = "", nth: int = 1) -> Iterator[None]:
    """Within, `act` is done the `nth` time that the point is reached, and never again."""
    reached: list[str] = []

    def handler(which: Failpoint, subject: str) -> None:
        if which == point and about in subject:
            reached.append(subject)
            if len(reached) == nth:
                act()

    failpoints.on_reached(handler)
    try:
        yield
    finally:
        failpoints.on_reached(None)
        assert len(reached) >= nth, f"{point} was not reached"


def fail() -> None:
    raise OSError("the connection was reset")


def die() -> None:
    raise Died


def the_answer_of_a_commit_is_lost(lake: Lake, _: SqsEmulator) -> None:
    """The append landed, and whoever asked for it is told that it failed."""
    with at(Failpoint.COMMIT_DONE, fail):
        receipt = append_batch(lake, batch(BODIES, batch_id="one"), "one")
    in_bronze_once(lake, set(BODIES))
    assert receipt == (set(BODIES), 0), "a batch that landed is not known as its own"


def a_commit_fails(lake: Lake, _: SqsEmulator) -> None:
    """The append did not land; the next try does."""
    with at(Failpoint.COMMIT_DECIDED, fail):
        assert append_batch(lake, batch(BODIES, batch_id="one"), "one") == (set(BODIES), 0)
    in_bronze_once(lake, set(BODIES))


def another_consumer_commits_in_between(lake: Lake, _: SqsEmulator) -> None:
    """Two consumers hold the same messages; both looked, and neither saw them in bronze."""
    lake.ensure(EVENT_FEED)

    def other() -> None:
        failpoints.on_reached(None)
        append_batch(lake, batch(BODIES, batch_id="two"), "two")

    with at(Failpoint.COMMIT_DECIDED, other):
        receipt = append_batch(lake, batch(BODIES, batch_id="one"), "one")
    in_bronze_once(lake, set(BODIES))
    assert receipt == (set(), len(BODIES))


def the_tables_properties_change_in_between(lake: Lake, _: SqsEmulator) -> None:
    """A commit of metadata aborts every append that is in flight; the next try goes through."""
    lake.ensure(EVENT_FEED)

    def change() -> None:
        lake.ensure(EVENT_FEED).alter.set_table_properties({"delta.logRetentionDuration": "interval 60 days"})

    with at(Failpoint.COMMIT_DECIDED, change):
        assert append_batch(lake, batch(BODIES, batch_id="one"), "one") == (set(BODIES), 0)
    assert lake.ensure(EVENT_FEED).metadata().configuration["delta.logRetentionDuration"] == "interval 60 days"
    in_bronze_once(lake, set(BODIES))


def the_tables_are_compacted_in_between(lake: Lake, _: SqsEmulator) -> None:
    """Maintenance brings small files together while a batch and a slice are being committed."""
    bodies = list(samples().values())
    for number in range(3):
        receive(lake, bodies[number : number + 1], first=number)
    flatten_new(lake)
    compacted: list[str] = []

    def compact(layer: Layer, table: str) -> None:
        handle = lake.open(layer, table)
        assert handle is not None
        if handle.optimize.compact()["numFilesRemoved"] > 1:
            compacted.append(table)

    with at(Failpoint.COMMIT_DECIDED, lambda: compact("bronze", EVENT_FEED.name), about="bronze"):
        receive(lake, bodies[3:], first=3)
    with at(Failpoint.COMMIT_DECIDED, lambda: compact("bronze", EVENT_FEED.name), about="silver", nth=2):
        flatten_new(lake)
    assert compacted == [EVENT_FEED.name, EVENT_FEED.name]
    _silver_is_whole(lake)


def the_process_dies_before_its_commit(lake: Lake, sqs: SqsEmulator) -> None:
    """Nothing is in bronze, so everything must be in the queue."""
    sqs.publish(BODIES.values())
    with at(Failpoint.COMMIT_DECIDED, die), _dying():
        _drain(lake, sqs)
    assert column(lake, "bronze", "event_feed", "message_id") == []
    assert len(sqs.queue.message_ids()) == len(BODIES), "a message is neither in the queue nor in bronze"


def the_process_dies_before_its_deletes(lake: Lake, sqs: SqsEmulator) -> None:
    """Everything is in both; what is delivered again is absorbed, and deleted with its new handle."""
    published = sqs.publish(BODIES.values())
    with at(Failpoint.BATCH_COMMITTED, die), _dying():
        _drain(lake, sqs)
    assert len(sqs.queue.message_ids()) == len(BODIES)
    _let_go_of_what_is_held(sqs)
    _drain(lake, sqs)
    in_bronze_once(lake, published)
    assert sqs.queue.message_ids() == []


def a_delete_fails_in_part(lake: Lake, sqs: SqsEmulator) -> None:
    """SQS answers with success and a list of what it did not delete."""
    sqs.publish(BODIES.values())
    failing = sqs.faults.add(Fault.ENTRY_FAILED, "DeleteMessageBatch", count=2)
    report = _drain(lake, sqs)
    assert failing.fired == 2
    assert report.deleted == len(BODIES)
    assert sqs.queue.message_ids() == [], "a message whose delete failed was forgotten"


def silver_dies_between_two_tables(lake: Lake, _: SqsEmulator, *, nth: int = 5) -> None:
    """Some tables have the slice and some have not; the next run gives each what it lacks."""
    receive(lake, list(samples().values()))
    with at(Failpoint.COMMIT_DONE, die, about="silver", nth=nth), _dying():
        flatten_new(lake)
    flatten_new(lake)
    _silver_is_whole(lake)


def the_answer_of_a_silver_commit_is_lost(lake: Lake, _: SqsEmulator) -> None:
    receive(lake, list(samples().values()))
    with at(Failpoint.COMMIT_DONE, fail, about="silver/clicks"):
        flatten_new(lake)
    _silver_is_whole(lake)


def another_run_flattens_in_between(lake: Lake, _: SqsEmulator) -> None:
    """Both looked at the same table; the other one commits first."""
    receive(lake, list(samples().values()))

    def other() -> None:
        failpoints.on_reached(None)
        flatten_new(lake)

    with at(Failpoint.COMMIT_DECIDED, other, about="silver", nth=3):
        flatten_new(lake)
    _silver_is_whole(lake)


def a_run_is_overtaken_in_the_middle_of_its_slice(lake: Lake, _: SqsEmulator) -> None:
    """It is about to commit two messages to its third table, when another brings all tables up to the first message alone.

    The ledgers of the two must not overlap, or conservation would count items twice and block gold over nothing.
    """
    bodies = list(samples().values())
    receive(lake, bodies[:9])
    stopped_at = lake.ensure(EVENT_FEED).version()
    receive(lake, bodies[9:], first=9)

    def other() -> None:
        failpoints.on_reached(None)
        _flatten_up_to(lake, stopped_at)

    with at(Failpoint.SILVER_READ, other):
        flatten_new(lake)
    _silver_is_whole(lake)


SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.__name__: scenario
    for scenario in (
        the_answer_of_a_commit_is_lost,
        a_commit_fails,
        another_consumer_commits_in_between,
        the_tables_properties_change_in_between,
        the_tables_are_compacted_in_between,
        the_process_dies_before_its_commit,
        the_process_dies_before_its_deletes,
        a_delete_fails_in_part,
        silver_dies_between_two_tables,
        the_answer_of_a_silver_commit_is_lost,
        another_run_flattens_in_between,
        a_run_is_overtaken_in_the_middle_of_its_slice,
    )
}


def _silver_is_whole(lake: Lake) -> None:
    """15 of the 17 samples are rows, two are malformed as published."""
    nothing_is_twice(lake)
    summed = conservation(lake, above=0)
    assert summed.holds, summed
    assert (summed.messages, summed.items, summed.rows, summed.rejected, summed.duplicates) == (17, 17, 15, 2, 0)


def _flatten_up_to(lake: Lake, version: int) -> None:
    """A run that began when bronze stood at `version`."""
    real = slices_of  # what a run that opened bronze earlier would cut

    def shorter(bronze: Any, start: int, target: int, **options: Any) -> Any:
        return real(bronze, start, min(target, version), **options)

    with patch("mg_lakehouse.silver.update.slices_of", shorter):
        flatten_new(lake)


def _drain(lake: Lake, sqs: SqsEmulator) -> DrainReport:
    settings = Settings(queue_url=sqs.queue_url, wait_seconds=0, receivers=1, batch_messages=10, visibility_seconds=_VISIBILITY)
    return drain(EventQueue(sqs.client(), sqs.queue_url), lake, settings)


def _let_go_of_what_is_held(sqs: SqsEmulator) -> None:
    assert isinstance(sqs.clock, VirtualClock)
    sqs.clock.advance(_VISIBILITY + 1)


@contextmanager
def _dying() -> Iterator[None]:
    try:
        yield
    except Died:
        return
    raise AssertionError("it did not die")
