"""Alerts in Dagster: checks that warn and block nothing, and a sensor that tells Slack each alert once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import dagster as dg
import pytest
from dagster_slack import SlackResource
from markdown_it import MarkdownIt
from slack_sdk.web.client import WebClient

from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.checks.alerts import alert_check_keys, check_result
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.slack import build_slack_resource
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.alerts import ALERTS, Alert
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.gold.helpers import append, build, event
from mg_lakehouse_tests.util.escaping_laws import hides
from mg_lakehouse_tests.util.hostile import MARKUP, MOVING, SLACK

NOW = datetime.now(UTC)


class Channel:
    """What was posted to Slack's API at an address of its own."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        posted = self.posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that http.server calls
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = (
                    json.loads(body)
                    if self.headers["Content-Type"].startswith("application/json")
                    else {k: v[0] for k, v in parse_qs(body).items()}
                )
                posted.append(form | {"path": self.path})
                answer = b'{"ok": true}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/"


class LocalSlack(SlackResource):
    """Slack's own client, at another address."""

    url: str

    def get_client(self) -> WebClient:
        return WebClient(self.token, base_url=self.url)


@pytest.fixture
def channel() -> Iterator[Channel]:
    channel = Channel()
    thread = threading.Thread(target=channel.server.serve_forever)
    thread.start()
    try:
        yield channel
    finally:
        channel.server.shutdown()
        thread.join()
        channel.server.server_close()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("alerting") / "lake"))
    append(lake, [event("job_errors", request=job, at=NOW - timedelta(hours=1)) for job in ("b-one", "b-two")])
    build(lake, select="job_metrics", as_of=NOW)
    return lake


def settings(lake: Lake, **changes: Any) -> Settings:
    return Settings(**{"lake_uri": lake.root, "pii_key": "k"} | changes)


def test_the_checks_warn_of_what_they_found_and_block_nothing(lake: Lake) -> None:
    definitions = build_definitions(settings(lake))
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("alerts").execute_in_process(instance=instance)
    assert result.success
    found = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert {name: each.passed for name, each in found.items()} == {kind.name: kind.name != "no_job_errors" for kind in ALERTS}
    errors = found["no_job_errors"]
    assert errors.severity == dg.AssetCheckSeverity.ERROR
    assert errors.description == (
        "Job b-one had 1 errors and has sent nothing; the threshold is 1. Job b-two had 1 errors and has sent nothing; the threshold is 1."
    )
    assert not any(each.blocking for each in found.values())


def test_gold_is_built_without_looking_for_alerts(lake: Lake) -> None:
    definitions = build_definitions(settings(lake))
    of_gold = definitions.resolve_job_def("gold").asset_layer.executable_asset_keys
    assert {key.path[-1] for key in of_gold} >= {"job_metrics", "mailbox_provider_daily"}
    selected = definitions.resolve_job_def("gold").asset_layer.asset_graph.asset_check_keys
    assert not selected & set(alert_check_keys(Names()))


def test_slack_is_told_of_each_alert_once(lake: Lake, channel: Channel) -> None:
    wanted = settings(lake, alert_slack_channel="#mail", alert_slack_token="xoxb-1")
    slack = LocalSlack(token="xoxb-1", url=channel.url)
    definitions = build_definitions(wanted, resources={"slack": slack})
    sensor = definitions.resolve_sensor_def("alerts_to_slack")

    def tick(instance: dg.DagsterInstance, cursor: str | None) -> str | None:
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"slack": slack})
        data = sensor.evaluate_tick(context)
        return data.cursor

    with dg.DagsterInstance.ephemeral() as instance:
        cursor = tick(instance, None)
        assert channel.posted == []
        assert definitions.resolve_job_def("alerts").execute_in_process(instance=instance).success
        cursor = tick(instance, cursor)
        cursor = tick(instance, cursor)
    assert [(form["path"], form["channel"], form["text"]) for form in channel.posted] == [
        (
            "/api/chat.postMessage",
            "#mail",
            "\n".join(f":red_circle: Job {job} had 1 errors and has sent nothing; the threshold is 1." for job in ("b-one", "b-two")),
        )
    ]


PLAIN = {"mrkdwn", "parse", "link_names", "unfurl_links", "unfurl_media"}


def test_a_name_of_a_job_is_text_in_slack_and_in_the_ui(channel: Channel, tmp_path: Path) -> None:
    hostile = Lake(str(tmp_path / "lake"))
    jobs = [text for text in (*SLACK, *MARKUP, *MOVING) if chr(0xDCFF) not in text]
    append(hostile, [event("job_errors", request=job, at=NOW - timedelta(hours=1)) for job in jobs])
    build(hostile, select="job_metrics", as_of=NOW)
    slack = LocalSlack(token="xoxb-1", url=channel.url)
    definitions = build_definitions(settings(hostile, alert_slack_channel="#mail", alert_slack_token="xoxb-1"), resources={"slack": slack})
    with dg.DagsterInstance.ephemeral() as instance:
        run = definitions.resolve_job_def("alerts").execute_in_process(instance=instance)
        definitions.resolve_sensor_def("alerts_to_slack").evaluate_tick(
            dg.build_sensor_context(instance=instance, resources={"slack": slack})
        )
    lines = [line for form in channel.posted for line in form["text"].split("\n")]
    assert len(lines) == len(jobs)  # a line for each alert, in messages that Slack takes
    assert max(len(form["text"]) for form in channel.posted) < 40_000
    for form in channel.posted:
        assert {name: str(form[name]).lower() for name in PLAIN} == dict.fromkeys(PLAIN, "false") | {"parse": "none"}
        assert not set("<>") & set(form["text"])
        assert not hides(form["text"]) - {"\n", "\u2060"}
    (found,) = [each for each in run.get_asset_check_evaluations() if each.check_name == "no_job_errors"]
    assert found.description is not None
    paragraph, inline, _ = MarkdownIt("commonmark", {"html": True}).parse(found.description)
    assert paragraph.type == "paragraph_open"
    assert {child.type for child in inline.children or []} <= {"text", "text_special"}
    told: Any = found.metadata["alerts"].value
    assert sorted(each["subject"] for each in told) == sorted(jobs)  # the data are what they were


def test_slack_is_told_that_nothing_ingests(lake: Lake, channel: Channel) -> None:
    slack, key = LocalSlack(token="xoxb-1", url=channel.url), Names().messages_are_ingested
    definitions = build_definitions(settings(lake, alert_slack_channel="#mail", alert_slack_token="xoxb-1"), resources={"slack": slack})
    alert = Alert("error", "sensor stopped", "7 messages wait. The sensor event_feed_sensor is stopped.")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key.asset_key, check_name=key.name, passed=False, metadata={"alerts": dg.MetadataValue.json([alert._asdict()])}
            )
        )
        context = dg.build_sensor_context(instance=instance, resources={"slack": slack})
        definitions.resolve_sensor_def("alerts_to_slack").evaluate_tick(context)
    assert [form["text"] for form in channel.posted] == [":red_circle: 7 messages wait. The sensor event_feed_sensor is stopped."]


def test_no_channel_means_no_sensor(lake: Lake) -> None:
    assert "alerts_to_slack" not in {sensor.name for sensor in build_definitions(settings(lake)).sensors or []}


def test_a_channel_without_a_token_is_one_sentence(lake: Lake) -> None:
    with pytest.raises(ConfigurationError, match=r"^MG_ALERT_SLACK_CHANNEL is set and MG_ALERT_SLACK_TOKEN is not: .*Slack bot\.$"):
        build_slack_resource(settings(lake, alert_slack_channel="#mail"))


def test_many_alerts_are_a_sentence_of_five_and_all_of_them_in_the_metadata() -> None:
    result = check_result(Names(), ALERTS[0], [Alert("warn", str(number), f"{number}.") for number in range(7)])
    assert result.description == "0. 1. 2. 3. 4. And 2 more: see the metadata."
    assert result.severity == dg.AssetCheckSeverity.WARN
    told: Any = result.metadata["alerts"].value
    assert [each["subject"] for each in told] == [str(number) for number in range(7)]
