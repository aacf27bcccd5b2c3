"""A message that is set aside, as whoever runs the pipeline meets it: gold is built, the run alarms until it is flattened, `retry` does that."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

import mg_lakehouse.cli.app as cli
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.run_pass import flatten_and_build
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings, load_settings
from mg_lakehouse_tests.dagster.test_alerts import Channel, LocalSlack, channel  # noqa: F401  a fixture
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.lake.feeds import receive, rows_of
from mg_lakehouse_tests.silver.test_set_aside import failing

SAID = "1 messages are set aside (1 items): flattening them failed, and bronze has them."


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """One good message, and one that fails, which nobody has flattened yet."""
    monkeypatch.setenv("MG_LAKE_URI", str(tmp_path / "lake"))
    monkeypatch.chdir(tmp_path)
    lake = Lake(str(tmp_path / "lake"))
    good, bad = (item("OpenActivity", ActivityId=activity, RequestId="b1", RecipientId="7") for activity in ("o1", "POISON"))
    receive(lake, [bundle(good), bundle(bad)])
    return load_settings()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """What a command prints, in one line, and its status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["mg-lakehouse", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), " ".join((printed.out + printed.err).split())


def flatten(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """A run that flattens what is new."""
    return definitions.resolve_job_def("flatten").execute_in_process(
        instance=instance, partition_key="2026-03-01", run_config={"ops": {"silver": {"config": {"rederive": False}}}}
    )


def test_gold_is_built_and_every_run_alarms_until_it_is_flattened(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    lake = Lake(settings.lake_uri)
    with failing():
        result = flatten_and_build(settings)
    assert result.succeeded
    assert [alarm.split(". ", 1)[-1] for alarm in result.alarms if SAID in alarm]
    assert rows_of(lake, "gold", "job_metrics")["open_events"].to_list() == [1]
    # A run that has nothing new alarms too. It is the first job of such a pass: gold, which follows, would find nothing to do.
    with dg.DagsterInstance.ephemeral() as instance:
        again = flatten(build_definitions(settings), instance)
    alarms = [check for check in again.get_asset_check_evaluations() if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR]
    assert [SAID in (check.description or "") for check in alarms] == [True]

    status, text = said(capsys, "status")
    assert status == 0
    assert SAID in text
    assert "OverflowError in silver/set_aside.py, line" in text
    with failing():
        status, text = said(capsys, "retry")
    assert status == 1
    assert SAID in text
    status, text = said(capsys, "retry")
    assert (status, "set_aside_messages" in text) == (0, True)
    assert said(capsys, "retry")[1] == "No message is set aside."
    assert SAID not in said(capsys, "status")[1]

    after = flatten_and_build(settings)
    assert (after.succeeded, after.alarms) == (True, ())
    assert rows_of(lake, "gold", "job_metrics")["open_events"].to_list() == [2]


def test_slack_is_told_once(settings: Settings, channel: Channel) -> None:  # noqa: F811
    slack, names = LocalSlack(token="xoxb-1", url=channel.url), Names()
    chosen = Settings(lake_uri=settings.lake_uri, alert_slack_channel="#mail", alert_slack_token="xoxb-1")
    definitions = build_definitions(chosen, resources={"slack": slack})
    with dg.DagsterInstance.ephemeral() as instance:
        with failing():
            flatten(definitions, instance)
        cursor = None
        for _ in range(2):
            context = dg.build_sensor_context(instance=instance, resources={"slack": slack}, cursor=cursor)
            definitions.resolve_sensor_def(names.qualified("alerts_to_slack")).evaluate_tick(context)
            cursor = context.cursor
    assert [SAID in form["text"] for form in channel.posted] == [True]
