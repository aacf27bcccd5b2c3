"""A whole feed over a real socket, through Dagster, against an independent reckoning, row for row.

The expected rows come from what the generator decided (:mod:`mg_lakehouse.testing.feed.truth`) and from plain Python over it
(:mod:`mg_lakehouse_tests.oracle`); neither has read the XML or run the SQL.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.dagster.run_pass import run_once
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.sandbox.sandbox import AdHoc, ad_hoc
from mg_lakehouse.settings import Settings, load_settings
from mg_lakehouse.testing.feed.feed import Feed, FeedPlan, generate
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.e2e.reckoned import KEY, LINEAGE, SEEDS, ZONE, gold_of, unlike
from mg_lakehouse_tests.gold.helpers import WITH_ADDRESSES
from mg_lakehouse_tests.lake.feeds import rows_of
from mg_lakehouse_tests.oracle.compare import difference
from mg_lakehouse_tests.oracle.conservation import items_begun, unaccounted
from mg_lakehouse_tests.oracle.gold import PRIMARY_KEYS
from mg_lakehouse_tests.oracle.silver import expected_rejected, expected_rows

pytestmark = pytest.mark.e2e

END = datetime(2026, 3, 20, 12, tzinfo=UTC)
AS_OF = END + timedelta(hours=5)


@dataclass(frozen=True)
class Done:
    """A feed, published in two halves with a run behind each, and the lake that it became."""

    feed: Feed
    lake: Lake
    published: int
    left: int
    silver: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    feed = generate(FeedPlan(seed=20260320, events=20_000, start=END - timedelta(days=40), end=END))
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    bodies = [bundle.body for bundle in feed.bundles]
    half = len(bodies) // 2
    variables = {"MG_LAKE_URI": lake.root, "MG_PII_KEY": KEY, "MG_BUSINESS_TIMEZONE": ZONE, "MG_AS_OF": AS_OF.isoformat()}
    with SqsEmulator() as queue, set_environment(queue.environment | variables):
        published = 0
        for part in (bodies[:half], bodies[half:]):
            published += len(queue.publish(part, duplicates=0.05, seed=7))
            result = run_once(load_settings(dotenv=None))
            assert result.failures == ()
        left = queue.depth()
    silver = {table: found.drop(LINEAGE).to_dicts() for table in silver_tables() if (found := table_or_none(lake, table)) is not None}
    return Done(feed, lake, published, left, silver)


def table_or_none(lake: Lake, table: str) -> pl.DataFrame | None:
    if table == "rejected_items" or lake.open("silver", table) is None:
        return None
    found = rows_of(lake, "silver", table)
    return None if found.is_empty() else found


def content(row: dict[str, Any]) -> str:
    """A row's content as text, apart from its id; ``_rescued_data`` by its meaning."""
    rescued = row["_rescued_data"]
    plain = row | {"activity_id": None, "_rescued_data": None if rescued is None else json.loads(rescued)}
    return json.dumps(plain, sort_keys=True, default=str)


@pytest.fixture(scope="module")
def expected_silver(done: Done) -> dict[str, list[dict[str, Any]]]:
    """The true rows. Items that carry no id have the one that the pipeline gave the row of the same content."""
    given = {table: {content(row): row["activity_id"] for row in rows} for table, rows in done.silver.items()}
    expected = expected_rows(done.feed.truth)
    for table, rows in expected.items():
        for row in rows:
            if row["activity_id"].startswith("sha256:"):
                row["activity_id"] = given[table].get(content(row), row["activity_id"])
    return expected


def test_every_message_is_in_bronze_and_out_of_the_queue(done: Done) -> None:
    bronze = rows_of(done.lake, "bronze", "event_feed")
    assert (bronze.height, bronze["message_id"].n_unique(), done.left) == (done.published, done.published, 0)
    assert set(bronze["body"]) == {bundle.body for bundle in done.feed.bundles}


@pytest.mark.parametrize("table", [table for table in silver_tables() if table != "rejected_items"])
def test_silver_is_the_truth_row_for_row(done: Done, expected_silver: dict[str, list[dict[str, Any]]], table: str) -> None:
    expected = expected_silver[table]
    assert len(expected) > 0
    assert difference(expected, done.silver[table], key=("activity_id",)) == ""


def test_rejects_are_the_ones_that_were_broken(done: Done) -> None:
    """A bundle that was published twice has its rejects twice: they are two messages."""
    received = Counter(rows_of(done.lake, "bronze", "event_feed")["body"])
    written = Counter(bundle.body for bundle in done.feed.bundles)
    expected: Counter[tuple[str, str | None]] = Counter()
    for rejected in done.feed.truth.rejected:
        body = done.feed.bundles[rejected.bundle].body
        # Some broken bodies were written several times; each of those was received its share of times.
        expected[rejected.reason, rejected.element] += Fraction(received[body], written[body])  # type: ignore[assignment]
    found = rows_of(done.lake, "silver", "rejected_items")
    # An unreadable root has a name in the table; the truth says nothing of it.
    readable = [
        (reason, None if reason == "not_activity_items" else element) for reason, element in found.select("reason", "element").rows()
    ]
    assert Counter(readable) == Counter({(r, None if r == "not_activity_items" else e): n for (r, e), n in expected.items()})
    assert set(expected_rejected(done.feed.truth)) == set(expected)


def test_every_item_that_begins_in_a_body_is_somewhere(done: Done) -> None:
    """By expat's count of what was received, which has neither our readers nor our scanner in it."""
    assert unaccounted(done.lake) == 0
    bodies = rows_of(done.lake, "bronze", "event_feed")["body"]
    assert sum(items_begun(body) or 0 for body in bodies) > 10_000


@pytest.fixture(scope="module")
def gold(expected_silver: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return gold_of(expected_silver, AS_OF)


MAY_BE_EMPTY = ("unresolved_opt_outs", "suppression_removals")
"""Nothing in the generated feed need be of nobody, or taken back."""


@pytest.mark.parametrize("model", PRIMARY_KEYS)
def test_gold_is_the_reckoning_row_for_row(done: Done, gold: dict[str, list[dict[str, Any]]], model: str) -> None:
    """Built in two increments, from a feed in no order, with duplicates of items and of messages."""
    assert gold[model] or model in MAY_BE_EMPTY
    assert unlike(done.lake, model, gold[model]) == ""


def test_the_feed_has_what_the_models_of_recipients_are_for(gold: dict[str, list[dict[str, Any]]]) -> None:
    """A job that providers complain of, each reason to stop, and mail in each channel that went out all the same."""
    assert {row["complaint_level"] for row in gold["mailbox_provider_daily"]} >= {"act", "none", "too_few", None}
    reasons = {reason for row in gold["suppression_list"] for reason in row["reasons"]}
    assert reasons == {"hard_bounce", "unsubscribe", "complaint", "sms_stop", "sms_invalid_address", "dead_push_token"}
    assert {row["channel"] for row in gold["suppression_violations"]} == {"email", "sms", "push"}


def test_no_address_is_in_gold_but_where_it_says_whom_to_remove_nor_in_any_log(
    done: Done, expected_silver: dict[str, list[dict[str, Any]]]
) -> None:
    secrets = {row["email_address"] for row in expected_silver["deliveries"] if row["email_address"]}
    secrets |= {row["sms_address"] for row in expected_silver["sms_deliveries"]} | {KEY}
    assert len(secrets) > 1_000
    texts = [path.read_text() for path in Path(done.lake.root).rglob("_delta_log/*.json")]
    texts += [rows_of(done.lake, "gold", model).write_json() for model in set(PRIMARY_KEYS) - WITH_ADDRESSES]
    # All of them in one pass: looking for each took 26 s.
    assert secrets_in([*texts, "a text that holds " + KEY], secrets) == [KEY]
    assert secrets_in(texts, secrets) == []


def secrets_in(texts: list[str], secrets: set[str]) -> list[str]:
    return pl.Series(texts).str.extract_many(sorted(secrets)).explode().drop_nulls().unique().to_list()


RECIPES = re.findall(r"```sql\n(.*?)```", (SEEDS.parents[1] / "docs" / "cookbook.md").read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def asked(done: Done) -> Iterator[AdHoc]:
    with ad_hoc(done.lake, Settings(lake_uri=done.lake.root, pii_key=SecretStr(KEY))) as opened:
        yield opened


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.split("\n")[0][:60] for recipe in RECIPES])
def test_every_recipe_of_the_cookbook_answers(asked: AdHoc, recipe: str) -> None:
    rows = asked.rows(recipe).read_all()
    assert rows.num_rows > 0 or "may be empty" in recipe


def test_the_cookbooks_numbers_are_the_truths(done: Done, asked: AdHoc) -> None:
    rejected = asked.rows("select reason, count(*) as n from silver.rejected_items group by all").read_all().to_pydict()
    found = rows_of(done.lake, "silver", "rejected_items")["reason"].value_counts()
    assert dict(zip(rejected["reason"], rejected["n"], strict=True)) == dict(found.iter_rows())
    known = {row.values["request_id"] for row in done.feed.truth.rows if row.table == "deliveries"}
    (jobs,) = asked.rows("select count(distinct request_id) as n from silver.deliveries").read_all().to_pydict()["n"]
    assert jobs == len(known)


def test_every_column_of_the_catalogue_says_what_it_is(asked: AdHoc) -> None:
    silent = asked.rows(
        "select table_name, column_name from duckdb_columns() where not internal and database_name = 'catalog' "
        "and schema_name in ('silver', 'gold') and comment is null"
    ).read_all()
    assert silent.to_pylist() == []
    assert asked.rows("select count(*) as n from duckdb_views() where not internal and comment is null").read_all().to_pylist() == [
        {"n": 0}
    ]


def test_the_catalogue_was_made_by_the_build_and_holds_no_data(done: Done, asked: AdHoc) -> None:
    tables = "select count(*) as n from duckdb_tables() where not internal and database_name = 'catalog'"
    assert asked.rows(tables).read_all().to_pylist() == [{"n": 0}]
    assert KEY.encode() not in Path(done.lake.root, "catalog.duckdb").read_bytes()
