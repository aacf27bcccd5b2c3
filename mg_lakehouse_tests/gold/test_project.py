"""The dbt project: its tests fail where a table is wrong, its models keep their contracts, and no artefact holds a secret."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from mg_lakehouse.errors import ConfigurationError, PermanentError
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold import engine
from mg_lakehouse.gold.engine import BuildResult
from mg_lakehouse.gold.pii_key import hmac_pads
from mg_lakehouse.gold.project import compiled_project, definitions, ensure_manifest
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.gold.helpers import (
    MARTS,
    NOON,
    PII_KEY,
    WITH_ADDRESSES,
    append,
    build,
    check_tables,
    copied_project,
    event,
    log_text,
    messages,
    one,
    run,
    settings,
    statuses,
    table,
    version,
)

EMAIL, PHONE, DEVICE = "ada.lovelace@gmail.com", "+15550142857", "device-8f14e45f"
FEED = [
    event("deliveries", request="b1-job", email=EMAIL),
    event("opens", 60, request="b1-job", email=EMAIL.upper()),
    event("clicks", 90, request="b1-job", email=EMAIL, url=f"https://a.example/{EMAIL}?for={EMAIL}", url_name=f"For {EMAIL}"),
    event("bounces", request="b1-job", email="grace.hopper@yahoo.com", category_code=10, details=f"550 no such user {EMAIL}"),
    # A code that the seed does not know.
    event("bounces", request="b1-job", recipient_id="7", category_code=777),
    event("bounces", request="b1-suppressed", recipient_id="1", category_code=131),
    event("sms_deliveries", request="b1-job", phone=PHONE),
    event("sms_delivery_failures", request="b1-job", phone="+15550271828", category="INVALID_ADDRESS"),
    event("mobile_push_deliveries", request="b1-job", device=DEVICE, service="APNS"),
    event("opens", request=None, email=EMAIL),
]
SECRETS: Final = {
    "the key": PII_KEY,
    "the key's inner pad": hmac_pads(PII_KEY.encode()).inner.hex(),
    "the key's outer pad": hmac_pads(PII_KEY.encode()).outer.hex(),
    "an address": EMAIL,
    "the name in an address": "grace.hopper",
    "a phone number": PHONE[1:],
    "another phone number": "15550271828",
    "a device": DEVICE,
}


@dataclass(frozen=True)
class Copy:
    """A copy of the project, compiled and built once."""

    folder: Path
    lake: Lake
    result: BuildResult
    manifest: dict[str, Any]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root = tmp_path_factory.mktemp("project")
    folder = copied_project(root)
    lake = Lake(str(root / "lake"))
    append(lake, FEED)
    result = run(lake, project=folder)
    return Copy(folder, lake, result, json.loads(ensure_manifest(Settings(dbt_project_dir=folder)).read_text()))


@pytest.fixture
def lake(project: Copy, tmp_path: Path) -> Lake:
    shutil.copytree(project.lake.root, tmp_path / "lake")
    return Lake(str(tmp_path / "lake"))


def test_a_build_reports_every_model_and_every_test(project: Copy) -> None:
    assert project.result.ok
    nodes = project.manifest["nodes"]
    wanted = {name for name, node in nodes.items() if node["config"]["materialized"] == "delta" or node["resource_type"] == "test"}
    assert set(project.result.nodes) == wanted
    models = {name: project.result.nodes[f"model.mg_lakehouse.{name}"].status for name in MARTS}
    assert models == dict.fromkeys(MARTS, "success")


def test_an_unknown_category_warns_and_fails_nothing(project: Copy) -> None:
    others = {name: node.status for name, node in project.result.nodes.items() if node.status not in {"success", "pass"}}
    assert [name.split(".")[2] for name in others] == ["job_bounce_categories_no_unknown_category"]
    assert list(others.values()) == ["warn"]


def test_a_build_leaves_nothing_but_the_compiled_project(project: Copy) -> None:
    left = {file.relative_to(project.folder / "target").parts[0] for file in (project.folder / "target").iterdir()}
    assert left == {"engine", "compile-partial_parse.msgpack"}
    assert list(Path(duck.private_folder()).glob("*/*-*/*.parquet")) == []


@pytest.mark.parametrize("mart", MARTS)
def test_a_mart_has_an_enforced_contract_with_every_column_described(project: Copy, mart: str) -> None:
    node = project.manifest["nodes"][f"model.mg_lakehouse.{mart}"]
    assert node["config"]["contract"]["enforced"]
    assert node["description"]
    assert {name for name, column in node["columns"].items() if not column["description"].strip() or not column["data_type"]} == set()
    # What stands in the lake is what the contract says.
    assert list(node["columns"]) == table(project.lake, mart).columns


@pytest.mark.parametrize("mart", MARTS)
def test_a_mart_is_tested_by_its_primary_key_and_its_values_or_identities(project: Copy, mart: str) -> None:
    attached = {node["test_metadata"]["name"] for node in attached_tests(project) if node["attached_node"] == f"model.mg_lakehouse.{mart}"}
    assert "primary_key" in attached
    assert attached & {"allowed_values", "identities_hold"}


def test_the_columns_with_personal_data_are_tagged_and_in_no_statistics(project: Copy) -> None:
    marts = {mart: project.manifest["nodes"][f"model.mg_lakehouse.{mart}"] for mart in MARTS}
    tagged = {(mart, name) for mart, node in marts.items() for name, column in node["columns"].items() if "pii" in column["tags"]}
    # `number` is the digits of an address that is a phone number.
    assert tagged == {(mart, "address") for mart in WITH_ADDRESSES} | {("recipient_addresses", "number")}
    assert [(mart, name) for mart, name in tagged if name in marts[mart]["config"]["stats_columns"]] == []


def test_every_generic_test_is_attached_to_a_mart(project: Copy) -> None:
    files = {file.stem for file in (project.folder / "tests" / "generic").glob("*.sql")}
    assert {node["test_metadata"]["name"] for node in attached_tests(project)} == files
    assert all(node["attached_node"] for node in attached_tests(project))


def attached_tests(project: Copy) -> list[dict[str, Any]]:
    return [node for node in project.manifest["nodes"].values() if node["resource_type"] == "test"]


def artefacts(project: Copy) -> Iterator[tuple[str, str]]:
    files = [file for file in (project.folder / "target").rglob("*") if file.is_file()]
    assert files
    for file in files:
        yield file.relative_to(project.folder).as_posix(), file.read_bytes().decode("latin-1")
    yield "what a build says", repr(project.result)
    yield "gold's Delta logs", log_text(project.lake)
    for mart in MARTS:
        # The list of whom to remove, and what it is made of, say who: their logs are looked at above.
        if mart not in WITH_ADDRESSES:
            yield mart, table(project.lake, mart).write_ndjson()


@pytest.mark.parametrize("secret", SECRETS)
def test_no_artefact_holds(project: Copy, secret: str) -> None:
    assert [name for name, text in artefacts(project) if SECRETS[secret].lower() in text.lower()] == []


def test_what_is_searched_for_secrets_has_the_hashes_of_the_addresses(project: Copy) -> None:
    assert all(f'"{kind}:' in dict(artefacts(project))["fct_messages"] for kind in ("email", "sms", "device"))


@contextmanager
def edited(file: Path, change: Callable[[str], str]) -> Iterator[None]:
    """A file of the project with another text, and with its own afterwards."""
    text = file.read_text()
    assert change(text) != text
    file.write_text(change(text))
    yield
    file.write_text(text)


@pytest.mark.slow
def test_a_change_is_one_of_what_depends_on_it_and_of_nothing_else(project: Copy) -> None:
    folder = project.folder

    def digests(at: Path | None) -> dict[str, int]:
        compiled = compiled_project(Settings(dbt_project_dir=at))
        return definitions(compiled, business_timezone="UTC", key=b"key")

    stood = ensure_manifest(Settings(dbt_project_dir=folder))
    before = digests(folder)
    assert before == digests(None), "where the project stands is no part of what it says"
    model = folder / "models" / "marts" / "engagement" / "link_metrics.sql"
    seed = folder / "seeds" / "mailbox_providers.csv"
    with (
        edited(model, lambda text: text.replace("with\n", "-- A comment.\nwith\n", 1)),
        edited(seed, lambda text: text + "example.test,gmail,false\n"),
    ):
        # A code location may be loaded at any moment: half a manifest, or none, would keep it from loading.
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(ensure_manifest, [Settings(dbt_project_dir=folder)] * 2)
        assert first == second != stood
        assert all(json.loads(manifest.read_text())["nodes"] for manifest in (first, stood))
        after = digests(folder)
    of_providers = {"fct_messages", "bounce_reasons_daily", "domain_days", "job_metrics"}
    compiled = compiled_project(Settings())
    expected = {name for name in compiled.models if of_providers & {name, *compiled.ancestors(name)}} | {"link_metrics"}
    assert {name for name in after if after[name] != before[name]} == expected
    assert expected.isdisjoint(
        {"dim_jobs", "recipient_addresses", "suppression_list", "job_errors", "feed_health_hourly", "dim_bounce_categories"}
    )


def test_the_time_zone_and_the_key_are_part_of_what_depends_on_them(project: Copy) -> None:
    compiled = compiled_project(Settings())
    stood = definitions(compiled, business_timezone="UTC", key=b"key")
    elsewhere = definitions(compiled, business_timezone="Asia/Tokyo", key=b"key")
    other_key = definitions(compiled, business_timezone="UTC", key=b"other")
    assert {"dim_jobs", "job_metrics_daily"} <= {name for name in stood if stood[name] != elsewhere[name]}
    assert stood["fct_messages"] == elsewhere["fct_messages"]
    assert {"fct_messages", "suppression_list"} <= {name for name in stood if stood[name] != other_key[name]}
    assert stood["dim_jobs"] == other_key["dim_jobs"]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which a model does not keep its contract, a metric's text is another, and an identity names a column that its
    model has not: compiling takes seconds."""
    folder = copied_project(tmp_path_factory.mktemp("changed"))
    model = folder / "models" / "marts" / "failures" / "dim_bounce_categories.sql"
    model.write_text(
        model.read_text().replace("select * from bounce_categories", "select * exclude (class), 1 as answer from bounce_categories")
    )
    columns = folder / "models" / "marts" / "columns.md"
    columns.write_text(columns.read_text().replace("hard_bounced / attempted.", "Hard bounces of what was attempted."))
    identities = folder / "macros" / "identities.sql"
    identities.write_text(identities.read_text().replace("late_rows <= received_rows", "rows_too_late <= received_rows"))
    return folder


def test_a_changed_text_makes_the_dictionary_anew_and_nothing_else(lake: Lake, changed: Path) -> None:
    """The texts are no part of any number."""
    stood = version(lake, "job_metrics")
    found = run(lake, models=["metric_dictionary", "job_metrics"], tests=(), project=changed)
    assert found.ok, found
    assert one(table(lake, "metric_dictionary"), metric="hard_bounce_rate")["definition"] == "Hard bounces of what was attempted."
    assert version(lake, "job_metrics") == stood


def test_a_column_that_is_not_in_the_contract_is_an_error_that_names_it(changed: Path, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    found = run(lake, models=["dim_bounce_categories"], project=changed)
    assert statuses(found)["dim_bounce_categories"] == "error"
    said = messages(found)["dim_bounce_categories"]
    assert (
        "gold/dim_bounce_categories does not keep its contract: answer is INTEGER, declared nowhere; class is missing, declared VARCHAR."
        in said
    )
    assert lake.open("gold", "dim_bounce_categories") is None


def test_an_identity_whose_column_was_renamed_is_an_error_of_its_test(lake: Lake, changed: Path) -> None:
    found = run(lake, models=["feed_health_hourly"], project=changed)
    failing = {name: status for name, status in statuses(found).items() if status not in {"success", "unchanged", "pass"}}
    assert not found.ok
    assert failing == {"feed_health_hourly_identities_hold": "error"}
    assert "rows_too_late" in messages(found)["feed_health_hourly_identities_hold"]


@pytest.mark.slow
def test_a_model_that_names_an_unknown_identity_does_not_compile(tmp_path: Path) -> None:
    folder = copied_project(tmp_path)
    described = folder / "models" / "marts" / "feed" / "feed_health_hourly.yml"
    described.write_text(described.read_text().replace("identities: [late rows, lags]", "identities: [late rows, legs]"))
    with pytest.raises(PermanentError, match="Unknown identity 'legs'"):
        ensure_manifest(Settings(dbt_project_dir=folder))


def update(mart: str, column: str, value: str, where: str) -> Callable[[Lake], None]:
    def change(lake: Lake) -> None:
        changed = DeltaTable(f"{lake.root}/gold/{mart}").update(updates={column: value}, predicate=where)
        assert changed["num_updated_rows"] > 0

    return change


def delete(mart: str, where: str | None = None) -> Callable[[Lake], None]:
    def change(lake: Lake) -> None:
        before = table(lake, mart).height
        DeltaTable(f"{lake.root}/gold/{mart}").delete(where)
        assert table(lake, mart).height < before

    return change


def repeat(mart: str) -> Callable[[Lake], None]:
    def change(lake: Lake) -> None:
        write_deltalake(f"{lake.root}/gold/{mart}", DeltaTable(f"{lake.root}/gold/{mart}").to_pyarrow_table(), mode="append")

    return change


FIRSTS, CATEGORIES = "job_metrics_daily_firsts_sum_to_job_metrics", "job_bounce_categories_messages_sum_to_failures"
DOMAINS = "domain_days_counts_sum_to_job_metrics"
WRONG: Final[dict[str, tuple[Callable[[Lake], None], str, set[str]]]] = {
    "a wrong count": (
        update("job_metrics", "accepted", "accepted + 1", "channel = 'email'"),
        "job_metrics",
        {"job_metrics_identities_hold"},
    ),
    "a rate above one": (update("job_metrics", "bounce_rate", "1.5", "channel = 'sms'"), "job_metrics", {"job_metrics_identities_hold"}),
    "a rate below nought": (
        update("bounce_categories_daily", "rate_7d", "-0.1", "channel = 'sms'"),
        "bounce_categories_daily",
        {"bounce_categories_daily_identities_hold"},
    ),
    "a job twice": (repeat("dim_jobs"), "dim_jobs", {"dim_jobs_primary_key"}),
    "an orphan twice": (repeat("fct_messages"), "fct_messages", {"fct_messages_primary_key"}),
    "an outcome that is none": (
        update("fct_messages", "outcome", "'lost'", "outcome = 'suppressed'"),
        "fct_messages",
        {"fct_messages_allowed_values"},
    ),
    "no categories": (delete("dim_bounce_categories"), "dim_bounce_categories", {"dim_bounce_categories_not_empty"}),
    "a wrong first count": (
        update("job_metrics_daily", "first_opens", "first_opens + 1", "request_id = 'b1-job' and channel = 'email'"),
        "job_metrics job_metrics_daily",
        {FIRSTS},
    ),
    "a job without days": (delete("job_metrics_daily", "request_id = 'b1-job'"), "job_metrics job_metrics_daily", {FIRSTS}),
    # Nothing of it is counted by a first_* column.
    "a suppressed job without days": (
        delete("job_metrics_daily", "request_id = 'b1-suppressed'"),
        "job_metrics job_metrics_daily",
        {FIRSTS},
    ),
    "a job without categories": (delete("job_bounce_categories", "request_id = 'b1-suppressed'"), "job_bounce_categories", {CATEGORIES}),
    "a category too few": (delete("job_bounce_categories", "category_key = '777'"), "job_bounce_categories", {CATEGORIES}),
    "a message on a day too many": (
        update("domain_days", "targeted", "targeted + 1", "request_id = 'b1-job' and channel = 'sms'"),
        "job_metrics domain_days",
        {"domain_days_identities_hold", DOMAINS},
    ),
    "a job without a domain": (
        delete("domain_days", "request_id = 'b1-suppressed'"),
        "job_metrics domain_days",
        {DOMAINS},
    ),
    "a link without a click": (
        update("link_metrics", "click_events", "click_events + 1", "request_id = 'b1-job'"),
        "job_metrics link_metrics",
        {"link_metrics_clicks_sum_to_job_metrics"},
    ),
    "a job without links": (
        delete("link_metrics", "request_id = 'b1-job'"),
        "job_metrics link_metrics",
        {"link_metrics_clicks_sum_to_job_metrics"},
    ),
    "a curve that falls": (
        update("engagement_curve", "openers", "0", "request_id = 'b1-job' and channel = 'email' and age_hours = 720"),
        "job_metrics engagement_curve",
        {"engagement_curve_identities_hold", "engagement_curve_curves_grow"},
    ),
    "a curve above the job": (
        update("engagement_curve", "aged_messages", "aged_messages + 1", "request_id = 'b1-job' and channel = 'sms'"),
        "job_metrics engagement_curve",
        {"engagement_curve_curves_grow"},
    ),
    "a machine without a reason": (
        update("fct_messages", "human_open_events", "0", "request_id = 'b1-job' and open_events > 0"),
        "fct_messages",
        {"fct_messages_identities_hold"},
    ),
    "days and categories of no job": (
        delete("job_metrics", "request_id = 'b1-suppressed'"),
        "job_metrics job_metrics_daily job_bounce_categories",
        {FIRSTS, CATEGORIES},
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_tests_find(lake: Lake, wrong: str) -> None:
    corrupt, models, failing = WRONG[wrong]
    corrupt(lake)
    found = check_tables(lake, models)
    assert not found.ok
    assert {name for name, status in statuses(found).items() if status == "fail"} == failing


def test_the_tests_pass_what_a_build_made(lake: Lake) -> None:
    found = check_tables(lake)
    assert found.ok
    assert set(statuses(found).values()) == {"pass", "warn"}


@pytest.mark.slow
def test_a_job_that_an_incremental_build_lost_is_found_by_its_tests(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = gold.commit

    def losing(lake: Lake, spec: Any, rows: Callable[[], pa.RecordBatchReader], **options: Any) -> DeltaTable:
        lost = spec.name in {"job_metrics_daily", "job_bounce_categories", "domain_days"}
        return commit(lake, spec, (lambda: rows().schema.empty_table().to_reader()) if lost else rows, **options)

    monkeypatch.setattr(gold, "commit", losing)
    append(lake, [event("deliveries", request="b1-suppressed", recipient_id="2")])
    found = run(lake)
    assert {name for name, status in statuses(found).items() if status == "fail"} == {FIRSTS, CATEGORIES, DOMAINS}


def test_a_part_built_alone_is_not_held_against_what_was_not_built_with_it(lake: Lake) -> None:
    append(lake, [event("deliveries", request="b1-suppressed", recipient_id="2")])
    models = {"message_events", "fct_messages", "dim_jobs", "job_metrics"}
    found = run(lake, models=models)
    assert found.ok
    assert {name for name, status in statuses(found).items() if status == "success"} == models


def test_a_model_whose_input_was_never_built_says_what_to_build(tmp_path: Path) -> None:
    found = run(Lake(str(tmp_path / "lake")), models=["job_metrics"])
    assert not found.ok
    assert statuses(found)["job_metrics"] == "error"
    assert re.search("build (dim_jobs|fct_messages) first", messages(found)["job_metrics"])


def test_builds_at_the_same_time_each_report_what_they_made(tmp_path: Path) -> None:
    def built(model: str) -> dict[str, str]:
        return statuses(run(Lake(str(tmp_path / model)), models=[model], tests=()))

    models = ["dim_bounce_categories", "metric_dictionary"]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(built, models)) == [{model: "success"} for model in models]


def test_a_build_that_is_stopped_ends_at_once_and_the_next_goes_on(tmp_path: Path) -> None:
    """A run that is terminated closes the build: what is computed is dropped, what is committed stays whole."""
    lake = Lake(str(tmp_path / "lake"))
    append(lake, [event("deliveries", request=f"b{job}-job", recipient_id="1") for job in range(3)])
    results = engine.run(lake, settings(lake), tests=(), as_of=NOON)
    first = next(results)
    results.close()
    assert first.status == "success"
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")] == []
    assert len(list(Path(lake.root, "gold").iterdir())) < len(MARTS)
    build(lake)
    assert table(lake, "job_metrics").height == 3


def test_an_unknown_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no gold model job_metric: the models are bounce_categories_daily, "):
        run(Lake(str(tmp_path / "lake")), models=["job_metric"])


def test_a_missing_project_is_named_with_the_setting(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/nowhere: set MG_DBT_PROJECT_DIR"):
        run(lake, project=tmp_path / "nowhere")
