"""All that a user of Dagster sees of the definitions, on one page: a change of it is seen in review.

``pytest mg_lakehouse_tests/dagster --snapshot-update`` writes the page again. It holds no path, version or date, so it is the same on
every machine. Texts for people (descriptions) are left out, for they change without anything else changing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import yaml
from dagster import AssetSelection
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from mg_lakehouse import build_definitions
from mg_lakehouse.settings import Settings


class Page(SingleFileSnapshotExtension):
    """A snapshot as a text that one reads."""

    file_extension = "yaml"
    _write_mode = WriteMode.TEXT


def test_the_definitions_are_those_of_the_page(snapshot: SnapshotAssertion) -> None:
    definitions = build_definitions(Settings(queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/feed"))
    assert page(definitions) == snapshot(extension_class=Page)


def page(definitions: dg.Definitions) -> str:
    """Assets, checks, jobs, schedules, sensors and resources, sorted by name."""
    graph = definitions.resolve_asset_graph()
    repository = definitions.get_repository_def()
    parts = {
        "assets": {key.to_user_string(): asset(graph.get(key)) for key in graph.get_all_asset_keys()},
        "checks": {check_name(key): check(graph, key) for key in graph.asset_check_keys},
        "jobs": {each.name: job(each) for each in repository.get_all_jobs() if not each.name.startswith("__")},
        "schedules": {each.name: schedule(each) for each in repository.schedule_defs},
        "sensors": {each.name: sensor(each, graph) for each in repository.sensor_defs},
        "resources": {key: type(resource).__name__ for key, resource in (definitions.resources or {}).items()},
    }
    return yaml.safe_dump(parts, sort_keys=True, width=140, allow_unicode=True)


def asset(node: Any) -> dict[str, Any]:
    return without_empty(
        {
            "group": node.group_name,
            "external": node.is_external,
            "deps": sorted(key.to_user_string() for key in node.parent_keys),
            "pools": sorted(node.pools or ()),
            "owners": list(node.owners),
            "kinds": sorted(node.kinds),
            "tags": {name: value for name, value in node.tags.items() if not name.startswith("dagster/kind/")},
            "partitions": type(node.partitions_def).__name__ if node.partitions_def else None,
            "backfill_policy": str(node.backfill_policy.policy_type.value) if node.backfill_policy else None,
            "automated": node.automation_condition is not None,
        }
    )


def check_name(key: dg.AssetCheckKey) -> str:
    return f"{key.asset_key.to_user_string()}: {key.name}"


def check(graph: Any, key: dg.AssetCheckKey) -> dict[str, Any]:
    return {"blocking": graph.get_check_spec(key).blocking}


def job(definition: Any) -> dict[str, Any]:
    return without_empty(
        {
            "assets": sorted(key.to_user_string() for key in definition.asset_layer.selected_asset_keys),
            "ops": sorted(node.name for node in definition.graph.nodes),
            "tags": dict(definition.tags),
        }
    )


def schedule(definition: dg.ScheduleDefinition) -> dict[str, Any]:
    return {
        "cron": definition.cron_schedule,
        "timezone": definition.execution_timezone,
        "job": definition.job_name,
        "status": definition.default_status.value,
    }


def sensor(definition: dg.SensorDefinition, graph: Any) -> dict[str, Any]:
    selected = definition.asset_selection
    return without_empty(
        {
            "jobs": sorted(target.job_name for target in definition.targets if not target.job_name.startswith("__")),
            "assets": sorted(key.to_user_string() for key in selected.resolve(graph)) if isinstance(selected, AssetSelection) else [],
            "type": definition.sensor_type.value,
            "seconds": definition.minimum_interval_seconds,
            "status": definition.default_status.value,
            "resources": sorted(definition.required_resource_keys),
        }
    )


def without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, [], {}, False)}
