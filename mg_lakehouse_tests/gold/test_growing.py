"""The table of events adds what came, replaces a job where one of its events is told otherwise now, and has the rows of a full build at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import append, build, event, run, table

EVENTS = "message_events"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two jobs: one of which a person clicked a link, and another with an event of an address alone."""
    lake = Lake(str(tmp_path / "lake"))
    append(
        lake,
        [
            event("deliveries", request="b1", recipient_id="1", email="ada@corp.example"),
            event("clicks", 7_000, request="b1", recipient_id="1", email="ada@corp.example", url="https://a.example/one"),
            event("deliveries", request="b2", email="bob@corp.example"),
            event("opens", 60, request=None, recipient_id="3"),
        ],
    )
    build(lake, select=EVENTS)
    return lake


def files(lake: Lake) -> set[str]:
    handle = lake.open("gold", EVENTS)
    assert handle is not None
    return set(handle.file_uris())


def rows(lake: Lake) -> pl.DataFrame:
    return table(lake, EVENTS).sort("kind", "activity_id", "channel")


def same_as_made_anew(lake: Lake) -> bool:
    refreshed = rows(lake)
    build(lake, select=EVENTS, full_refresh=True)
    return refreshed.equals(rows(lake))


def test_events_that_change_no_other_are_added(lake: Lake) -> None:
    before = files(lake)
    append(lake, [event("opens", 90, request="b1", recipient_id="1"), event("opens", 95, request=None, recipient_id="4")])
    build(lake, select=EVENTS)
    assert len(files(lake) - before) == 1
    assert before <= files(lake)
    assert rows(lake).height == 6
    assert same_as_made_anew(lake)


def clicks_of_a_scanner() -> list[Any]:
    """Two more links within the seconds of the click that there is: the three of them are a machine's."""
    return [
        event("clicks", 7_001 + number, request="b1", recipient_id="1", url=f"https://a.example/{number}", email="ada@corp.example")
        for number in range(2)
    ]


def test_a_job_is_replaced_where_an_event_of_it_is_told_otherwise_now_and_the_others_are_added_to(lake: Lake) -> None:
    assert rows(lake).filter(kind="click")["is_human"].to_list() == [True]
    append(lake, [*clicks_of_a_scanner(), event("opens", 90, request="b2", email="bob@corp.example")])
    build(lake, select=EVENTS)
    assert rows(lake).filter(kind="click")["is_human"].to_list() == [False] * 3
    assert rows(lake).height == 7
    assert same_as_made_anew(lake)


def test_an_address_that_gets_an_id_moves_its_events(lake: Lake) -> None:
    assert rows(lake).filter(request_id="b2")["recipient_key"].str.starts_with("email:").all()
    append(lake, [event("opens", 90, request="b2", recipient_id="2", email="bob@corp.example")])
    build(lake, select=EVENTS)
    assert rows(lake).filter(request_id="b2")["recipient_key"].to_list() == ["id:2", "id:2"]
    assert same_as_made_anew(lake)


def test_a_build_that_died_between_the_replacement_and_the_addition_is_resumed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    append(lake, [*clicks_of_a_scanner(), event("opens", 90, request="b2", email="bob@corp.example")])
    commit = gold.commit
    done: list[str] = []

    def dying(lake: Lake, spec: Any, *arguments: Any, **options: Any) -> DeltaTable:
        if done:
            raise OSError("the power went")
        done.append(spec.name)
        return commit(lake, spec, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(gold, "commit", dying)
        assert not run(lake, models=(EVENTS,), tests=()).ok
    # The job that was replaced is whole, the other is as it was.
    assert rows(lake).filter(request_id="b1").height == 4
    assert rows(lake).filter(request_id="b2").height == 1
    build(lake, select=EVENTS)
    assert rows(lake).height == 7
    assert same_as_made_anew(lake)
