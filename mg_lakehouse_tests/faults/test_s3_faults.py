"""The commit protocol on a real S3 server, with a proxy in front of it that fails on purpose.

Whatever fails: each message is in bronze once, in the snapshot and in the change feed; what is raised is one of our
errors; and calling again heals it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import polars as pl
import pytest
from _pytest.mark.structures import ParameterSet
from botocore.exceptions import ClientError

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.bronze.append import BatchReceipt, append_batch
from mg_lakehouse.errors import LakehouseError, PermanentError
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold import engine
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import Fault, FaultProxy, Rule
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.faults.invariants import in_bronze_once
from mg_lakehouse_tests.gold.helpers import MARTS, append, build, event, run, settings, table, version
from mg_lakehouse_tests.gold.helpers import rows_of as gold_rows
from mg_lakehouse_tests.lake.feeds import batch, receive

LOG: Final = r"/_delta_log/\d+\.json$"
DATA: Final = r"\.parquet$"
CALLS: Final = 10
"""Calls after which a fault that strikes a few times must have passed."""

Result = TypeVar("Result")


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    return s3_server.make_bucket("faults")


@pytest.fixture
def lake(s3_proxy: FaultProxy, bucket: str) -> Iterator[Lake]:
    """A lake of its own, reached through the proxy."""
    with set_environment(s3_proxy.environment):
        os.environ.pop("AWS_PROFILE", None)
        yield Lake(f"{bucket}/{uuid.uuid4().hex[:8]}")


def healed(call: Callable[[], Result]) -> Result:
    """What a call gives in the end. Only errors of ours may come before."""
    for _ in range(CALLS):
        try:
            return call()
        except LakehouseError:
            continue
    return call()


BATCHES: Final = 4
MESSAGES: Final = 3 * BATCHES + 2


def overlapping(lake: Lake, number: int) -> BatchReceipt:
    """Batch ``number``: five messages, two of them of the batch before."""
    ids = [f"m{index}" for index in range(3 * number, 3 * number + 5)]
    batch_id = f"batch-{number}"
    return append_batch(lake, batch({message_id: f"<{message_id}/>" for message_id in ids}, batch_id=batch_id), batch_id)


def consume(lake: Lake, order: Sequence[int]) -> int:
    """Commit the batches as one consumer does. Returns the messages that were new."""
    return sum(healed(lambda number=number: overlapping(lake, number)).new for number in order)  # type: ignore[misc]


def assert_exactly_once(lake: Lake) -> None:
    in_bronze_once(lake, [f"m{index}" for index in range(MESSAGES)])


def table_of(lake: Lake, layer: str, name: str) -> pl.DataFrame:
    return pl.read_delta(f"{lake.root}/{layer}/{name}", storage_options=lake.storage_options())


def test_the_server_makes_an_object_once(s3_server: S3Server, bucket: str) -> None:
    """What a commit to Delta on S3 rests on: two that write one version, and the second is refused."""
    client = s3_server.client()
    with ThreadPoolExecutor(8) as pool:
        tries = [
            pool.submit(client.put_object, Bucket=bucket.removeprefix("s3://"), Key="once", Body=str(number).encode(), IfNoneMatch="*")
            for number in range(16)
        ]
    errors = [error for each in tries if (error := each.exception()) is not None]
    assert len(errors) == 15
    assert {error.response["Error"]["Code"] for error in errors if isinstance(error, ClientError)} <= {
        "PreconditionFailed",
        "ConditionalRequestConflict",
    }
    winner = next(number for number, each in enumerate(tries) if each.exception() is None)
    assert client.get_object(Bucket=bucket.removeprefix("s3://"), Key="once")["Body"].read() == str(winner).encode()


WRITES: Final[list[tuple[Fault, int]]] = [
    ("error_before", 500),
    ("error_before", 503),
    ("error_before", 409),
    ("error_before", 412),
    ("error_after", 500),
    ("error_after", 503),
    ("drop_before", 0),
    ("drop_after", 0),
    ("drop_in_upload", 0),
    ("drop_in_answer", 0),
    ("slow", 0),
]
READS: Final[list[tuple[Fault, int]]] = [
    ("error_before", 500),
    ("error_before", 503),
    ("drop_before", 0),
    ("drop_in_answer", 0),
    ("slow", 0),
]


SHORT_WRITES: Final = {
    "log": {
        "error_before-500",
        "error_before-409",
        "error_before-412",
        "error_after-500",
        "drop_after",
        "drop_in_upload",
        "drop_in_answer",
    },
    "data": {"error_before-503", "error_after-500", "drop_in_upload"},
}
SHORT_READS: Final = {"log": {"error_before-500", "drop_in_answer"}, "data": {"error_before-503", "drop_in_answer"}}


def cases(faults: list[tuple[Fault, int]], keys: dict[str, str], *, short: dict[str, set[str]]) -> list[ParameterSet]:
    """Each fault on each kind of object; those that are not of the short run are of the long one."""
    return [
        pytest.param(fault, status, key, id=f"{kind}-{name}", marks=() if name in short[kind] else pytest.mark.faults)
        for kind, key in keys.items()
        for fault, status in faults
        for name in [f"{fault}-{status}" if status else fault]
    ]


@pytest.mark.parametrize(("fault", "status", "key"), cases(WRITES, {"log": LOG, "data": DATA}, short=SHORT_WRITES))
def test_each_message_is_in_bronze_once_whatever_befalls_a_write(
    lake: Lake, s3_proxy: FaultProxy, fault: Fault, status: int, key: str
) -> None:
    with s3_proxy.rules(Rule(fault=fault, status=status, method="PUT", key=f"bronze/event_feed.*{key}", first=1, count=2)):
        new = consume(lake, range(BATCHES))
        assert s3_proxy.struck() == [2]
    assert new == MESSAGES
    assert_exactly_once(lake)


@pytest.mark.parametrize(("fault", "status", "key"), cases(READS, {"log": "_delta_log", "data": DATA}, short=SHORT_READS))
def test_each_message_is_in_bronze_once_whatever_befalls_a_read(
    lake: Lake, s3_proxy: FaultProxy, fault: Fault, status: int, key: str
) -> None:
    with s3_proxy.rules(Rule(fault=fault, status=status, method="GET", key=f"bronze/event_feed.*{key}", first=1, count=2)):
        new = consume(lake, range(BATCHES))
        assert s3_proxy.struck() == [2]
    assert new == MESSAGES
    assert_exactly_once(lake)


@pytest.mark.parametrize("fault", ["error_after", "drop_after", "drop_in_answer"])
def test_a_commit_whose_answer_was_lost_is_recognised(lake: Lake, s3_proxy: FaultProxy, fault: Fault) -> None:
    """Without the batch's marker the second try would append it again, and only the change feed would tell."""
    overlapping(lake, 0)
    before = lake.open("bronze", "event_feed")
    assert before is not None
    with s3_proxy.rules(Rule(fault=fault, status=500, method="PUT", key=LOG)):
        assert overlapping(lake, 1) == BatchReceipt({"m5", "m6", "m7"}, already=2)
        assert s3_proxy.struck() == [1]
    after = lake.open("bronze", "event_feed")
    assert after is not None
    assert after.version() == before.version() + 1
    assert pl.DataFrame(after.load_cdf(0).read_all()).height == 8


def test_refused_rights_end_the_commit_at_once_and_rights_given_back_heal_it(lake: Lake, s3_proxy: FaultProxy) -> None:
    overlapping(lake, 0)
    with (
        s3_proxy.rules(Rule(fault="error_before", status=403, method="PUT", count=None)),
        pytest.raises(PermanentError, match=r"^bronze/event_feed in the lake s3://.* access was refused\. Check MG_LAKE_URI"),
    ):
        overlapping(lake, 1)
    assert consume(lake, range(1, BATCHES)) == MESSAGES - 5
    assert_exactly_once(lake)


def mixture(seed: int, path: str, *, rules: int = 4, share: float = 0.15) -> list[Rule]:
    """Rules by chance, on the log and on the data of a path, and one that is sure to strike."""
    chance = Random(seed)
    fault, status = chance.choice(WRITES)
    found = [Rule(fault=fault, status=status, method="PUT", key=f"{path}.*{LOG}", first=chance.randrange(3))]
    for number in range(rules):
        method = chance.choice(["PUT", "PUT", "GET"])
        fault, status = chance.choice(WRITES if method == "PUT" else READS)
        key = f"{path}.*{chance.choice([LOG, DATA] if method == 'PUT' else ['_delta_log', DATA])}"
        found.append(Rule(fault=fault, status=status, method=method, key=key, share=share, count=12, seed=seed + number))
    return found


def by_two(lake: Lake, pool: Executor) -> int:
    """Two consumers commit the same batches, one from each end."""
    orders = [list(range(BATCHES)), list(reversed(range(BATCHES)))]
    return sum(each.result() for each in [pool.submit(consume, lake, order) for order in orders])


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(2, 32))])
def test_two_threads_at_once_are_as_exact_as_one_under_a_mixture(lake: Lake, s3_proxy: FaultProxy, seed: int) -> None:
    with s3_proxy.rules(*mixture(seed, "bronze/event_feed")), ThreadPoolExecutor(2) as pool:
        by_two(lake, pool)
        assert sum(s3_proxy.struck()) > 0
    assert_exactly_once(lake)


@pytest.mark.parametrize("seed", [101, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(102, 112))])
def test_two_processes_at_once_are_as_exact_as_one_under_a_mixture(lake: Lake, s3_proxy: FaultProxy, seed: int) -> None:
    with s3_proxy.rules(*mixture(seed, "bronze/event_feed")), ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        by_two(lake, pool)
        assert sum(s3_proxy.struck()) > 0
    assert_exactly_once(lake)


@pytest.mark.faults
def test_a_store_that_stays_down_is_one_of_our_errors_and_heals(lake: Lake, s3_proxy: FaultProxy) -> None:
    overlapping(lake, 0)
    with (
        s3_proxy.rules(Rule(fault="error_before", status=503, method="PUT", key=LOG, count=None)),
        pytest.raises(LakehouseError, match="could not be reached or written"),
    ):
        overlapping(lake, 1)
    assert consume(lake, range(1, BATCHES)) == MESSAGES - 5
    assert_exactly_once(lake)


def bodies() -> list[str]:
    """Every sample, and some of them twice: duplicates that silver drops."""
    written = list(samples().values())
    return [*written, *written[:5]]


@pytest.fixture(scope="module")
def flattened(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """What silver is where nothing fails: on this machine's disk."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    receive(lake, bodies())
    flatten_new(lake)
    return lake


@pytest.mark.parametrize("seed", [201, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(202, 212))])
def test_silver_has_each_row_once_under_a_mixture(lake: Lake, s3_proxy: FaultProxy, flattened: Lake, seed: int) -> None:
    receive(lake, bodies())
    with s3_proxy.rules(*mixture(seed, "(silver|bronze)/"), Rule(fault="error_after", status=500, method="PUT", key=f"silver/clicks{LOG}")):
        healed(lambda: flatten_new(lake))
        assert sum(s3_proxy.struck()) > 0
    compared = 0
    for name in silver_tables():
        handle = lake.open("silver", name)
        expected = flattened.open("silver", name)
        assert (handle is None) == (expected is None), name
        if handle is None:
            continue
        rows = pl.read_delta(flattened.uri_of("silver", name)).sort("message_id", "item_index")
        assert table_of(lake, "silver", name).sort("message_id", "item_index").equals(rows), name
        assert pl.DataFrame(handle.load_cdf(0).read_all()).height == rows.height, name
        compared += rows.height
    assert compared == len(samples())  # each is a row of its table or a reject; the copies are neither


FIRST = [event("deliveries", recipient_id="1", email="ada@gmail.com"), event("bounces", recipient_id="2", category_code=10)]
LATER = [event("opens", 60, email="ada@gmail.com"), event("deliveries", 60, recipient_id="3", email="bob@gmail.com")]
GOLD_FAULTS: Final = {
    "refused": [Rule(fault="error_before", status=403, method="PUT", key=f"gold/job_metrics/.*{DATA}", count=None)],
    "reads": [Rule(fault="drop_in_answer", method="GET", key=f"silver/.*{DATA}", share=0.5, count=4)],
}


@pytest.mark.parametrize(
    "fault", ["drop_in_answer", pytest.param("error_after", marks=pytest.mark.faults), pytest.param("drop_after", marks=pytest.mark.faults)]
)
def test_a_gold_commit_whose_answer_was_lost_is_no_failure(lake: Lake, s3_proxy: FaultProxy, fault: Fault) -> None:
    """Nor is it made again: each table stands at the version behind the one that created it."""
    append(lake, FIRST)
    names = ("message_events", "fct_messages", "dim_jobs", "job_metrics")
    with s3_proxy.rules(Rule(fault=fault, status=500, method="PUT", key=r"gold/\w+/_delta_log/0+1\.json$", count=3)):
        built = run(lake, models=names, tests=())
        assert s3_proxy.struck() == [3]
    assert built.ok, built
    assert {name: version(lake, name) for name in names} == dict.fromkeys(names, 1)
    assert table(lake, "fct_messages").height == 2


@pytest.mark.faults
@pytest.mark.parametrize("faults", GOLD_FAULTS)
def test_a_gold_table_is_at_a_whole_version_and_the_next_build_is_right(
    lake: Lake, s3_proxy: FaultProxy, tmp_path: Path, faults: str
) -> None:
    local = Lake(str(tmp_path / "lake"))
    states: list[dict[str, list[tuple[object, ...]]]] = []
    for events in (FIRST, LATER):
        append(local, events)
        build(local)
        states.append({name: gold_rows(local, name) for name in MARTS})
    append(lake, FIRST)
    build(lake)
    append(lake, LATER)
    with set_environment({"MG_AS_OF": "2026-03-11T12:00:00+00:00"}):
        with s3_proxy.rules(*GOLD_FAULTS[faults]):
            engine.build(lake, settings(lake), tests=())
            assert sum(s3_proxy.struck()) > 0
        for name in MARTS:
            assert gold_rows(lake, name) in [state[name] for state in states], name
        built = engine.build(lake, settings(lake), tests=())
    assert built.ok, built
    assert {name: gold_rows(lake, name) for name in MARTS} == states[1]
    assert table(lake, "fct_messages").height == 3
