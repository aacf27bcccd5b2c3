"""A feed as a YAML file in somebody's project, and several feeds beside each other."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from mg_lakehouse import FeedComponent, Settings, build_definitions
from mg_lakehouse.errors import ConfigurationError


def component(**attributes: Any) -> FeedComponent:
    return FeedComponent.from_attributes_dict(attributes={"lake_uri": "lake", **attributes})


def names_of(definitions: dg.Definitions) -> dict[str, set[str]]:
    """Every name by which Dagster tells things apart, but those of its own."""
    repository = definitions.get_repository_def()
    graph = definitions.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    ops = {node.name for job in repository.get_all_jobs() for node in job.all_node_defs}
    return {
        "assets": {node.key.path[0] for node in nodes},
        "groups": {node.group_name for node in nodes if node.group_name},
        "pools": {pool for node in nodes for pool in node.pools or ()},
        "checks": {key.asset_key.path[0] for key in graph.asset_check_keys},
        "ops": ops,
        "jobs": {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")},
        "sensors": {sensor.name for sensor in repository.sensor_defs},
        "schedules": {schedule.name for schedule in repository.schedule_defs},
        "resources": {name for name in repository.get_top_level_resources() if name != "io_manager"},
    }


def test_a_setting_is_an_attribute_with_its_description() -> None:
    model = FeedComponent.get_model_cls()
    assert model is not None
    properties = model.model_json_schema()["properties"]
    for name, field in Settings.model_fields.items():
        assert properties[name]["description"] == field.description
    assert set(properties) == set(Settings.model_fields) | {"aws", "thresholds"}


def test_templates_are_filled_in_and_what_they_leave_empty_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH", "77")
    monkeypatch.setenv("KEY", "a secret")
    monkeypatch.setenv("EMPTY", "")
    found = component(
        feed="transactional",
        batch_messages="{{ env.BATCH }}",
        pii_key="{{ env.KEY }}",
        queue_url="{{ env.NOT_SET }}",
        account_id="{{ env.EMPTY }}",
        activity_types=["opens", "CLICKS"],
        activity_start_date="2026-01-02",
        aws={"profile_name": "{{ env.NOT_SET }}", "region_name": "eu-central-1"},
        thresholds={"complaints": "{{ env('COMPLAINTS', '0.002') }}", "days": 7},
    )
    settings = found.settings
    assert (settings.feed, settings.batch_messages, settings.queue_url, settings.account_id) == ("transactional", 77, None, None)
    assert settings.pii_key is not None
    assert settings.pii_key.get_secret_value() == "a secret"
    assert settings.activity_types == ("OPENS", "CLICKS")
    assert settings.activity_start_date.isoformat() == "2026-01-02"
    assert (found.aws.profile_name, found.aws.region_name) == (None, "eu-central-1")
    assert (found.thresholds.complaints, found.thresholds.days, found.thresholds.messages) == (0.002, 7, 1_000)
    assert "a secret" not in repr(found)


def test_nothing_comes_from_the_environment_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two feeds would drain the queue of the one, and each have half of it."""
    for name, value in {"MG_QUEUE_URL": "https://queue", "MG_API_KEY": "key", "MG_BATCH_MESSAGES": "7", "MG_FEED": "other"}.items():
        monkeypatch.setenv(name, value)
    settings = component().settings
    assert (settings.queue_url, settings.api_key, settings.batch_messages, settings.feed) == (None, None, 2_000, None)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"lake_uri": "{{ env.NOT_SET }}"}, "lake_uri is not set: give the feed its own lake, a folder or an s3:// address."),
        ({"feed": "Two Words"}, "feed: Value error, 'Two Words' is not a feed name; use lower-case letters, digits and _"),
        ({"batch_messages": "many"}, "batch_messages: Input should be a valid integer"),
        ({"api_url": "http://example.com", "api_key": "a secret"}, "api_url: Value error, it must begin with https://"),
        ({"thresholds": {"complaints": "few"}}, "thresholds: could not convert string to float: 'few'"),
    ],
)
def test_a_wrong_attribute_is_one_sentence(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        component(**attributes)
    assert str(caught.value).startswith(said)
    assert "a secret" not in str(caught.value)


@pytest.mark.parametrize("attributes", [{"que_url": "x"}, {"aws": {"secret": "x"}}, {"thresholds": {"complaint": 1}}])
def test_an_attribute_that_there_is_not_is_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        component(**attributes)


def test_the_queues_account_and_the_thresholds_reach_the_definitions() -> None:
    context = dg.ComponentTree.for_test().load_context
    found = component(feed="other", queue_url="https://queue", aws={"profile_name": "others"}).build_defs(context)
    resource = (found.resources or {})["other_event_feed"]
    assert (resource.queue_url, resource.profile_name, resource.endpoint_url) == ("https://queue", "others", None)


def test_every_name_of_a_named_feed_has_the_feeds_before_it() -> None:
    plain, named = (names_of(build_definitions(Settings(feed=feed))) for feed in (None, "receipts"))
    assert named["assets"] == named["checks"] == {"receipts"}
    for kind in ("groups", "jobs", "sensors", "schedules", "resources"):
        assert named[kind] == {f"receipts_{name}" for name in plain[kind]}, kind
    assert named["pools"] == {pool.replace("mg_", "mg_receipts_") for pool in plain["pools"]}
    assert all(name.startswith("receipts_") for name in named["ops"])
    assert not named["ops"] & plain["ops"]


def test_two_feeds_and_one_without_a_name_stand_in_one_project() -> None:
    feeds = [build_definitions(Settings(feed=feed, lake_uri=f"lakes/{feed}")) for feed in (None, "marketing", "receipts")]
    merged = dg.Definitions.merge(*feeds)
    dg.Definitions.validate_loadable(merged)
    assert len(merged.resolve_asset_graph().get_all_asset_keys()) == sum(
        len(each.resolve_asset_graph().get_all_asset_keys()) for each in feeds
    )


def test_gold_of_one_feed_waits_for_nothing_of_another() -> None:
    merged = dg.Definitions.merge(*(build_definitions(Settings(feed=feed)) for feed in ("marketing", "receipts")))
    graph = merged.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert {parent.path[0] for parent in graph.get(key).parent_keys} <= {key.path[0]}
        if (condition := graph.get(key).automation_condition) is not None:
            mentioned = {feed for feed in ("marketing", "receipts") if feed in repr(condition)}
            assert mentioned == {key.path[0]}


def test_somebody_elses_asset_in_a_group_of_ours_is_in_no_job_of_ours() -> None:
    own = dg.Definitions(assets=[dg.AssetSpec("mine", group_name="silver")])

    @dg.asset(group_name="gold")
    def theirs() -> None: ...

    merged = dg.Definitions.merge(build_definitions(Settings()), own, dg.Definitions(assets=[theirs]))
    for job in ("ingest", "flatten", "gold"):
        layer = merged.resolve_job_def(job).asset_layer
        assert dg.AssetKey("theirs") not in layer.executable_asset_keys


def test_resources_are_replaced_by_their_plain_names() -> None:
    from mg_lakehouse.dagster.resources import LakeResource

    found = build_definitions(Settings(feed="receipts"), resources={"lake": LakeResource(uri="elsewhere")})
    assert (found.resources or {})["receipts_lake"].uri == "elsewhere"


def test_the_package_offers_its_parts_without_importing_dagster() -> None:
    """Nor do the commands that run nothing import it: they would begin 0.7 s later."""
    commands = ", ".join(f"mg_lakehouse.cli.{module}" for module in ("lake", "query", "suppressions", "pipeline"))
    script = (
        f"import sys, mg_lakehouse, {commands}; assert 'dagster' not in sys.modules; print(*mg_lakehouse.__all__);"
        "print(*(getattr(mg_lakehouse, name).__name__ for name in mg_lakehouse.__all__ if name != '__version__'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    offered = (
        "ConfigurationError EventFeedResource FeedComponent LakeResource LakehouseError PermanentError QueryError Settings Thresholds "
        "TransientError WebServiceResource"
    )
    assert done.stdout == f"{offered} __version__ build_definitions\n{offered} build_definitions\n"
