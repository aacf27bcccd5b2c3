"""Wrong use and bad surroundings: one clear sentence, exit status 1, and everything as it was.

Each runs the real command in a process and a folder of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from deltalake import DeltaTable

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.cli.commands import command, sentence
from mg_lakehouse_tests.lake.feeds import bundles, receive


@pytest.fixture(scope="module")
def queue() -> Iterator[SqsEmulator]:
    with SqsEmulator() as embedded:
        embedded.publish(list(samples().values())[:3])
        yield embedded


def of(queue: SqsEmulator, **changes: str) -> Mapping[str, str]:
    return {**queue.environment, **changes}


def test_no_queue_is_set(tmp_path: Path) -> None:
    assert sentence(command(tmp_path, "run")) == (
        "Error: No queue is set: set MG_QUEUE_URL to the address of the MessageGears event feed's SQS queue."
    )
    assert list(tmp_path.iterdir()) == []


def test_the_queue_does_not_exist(tmp_path: Path, queue: SqsEmulator) -> None:
    gone = queue.queue_url + "-gone"
    assert sentence(command(tmp_path, "run", **of(queue, MG_QUEUE_URL=gone))) == (
        f"Error: The queue {gone} does not exist: correct MG_QUEUE_URL, or the region and account it names."
    )
    assert list(tmp_path.iterdir()) == []


def test_credentials_are_missing(tmp_path: Path, queue: SqsEmulator) -> None:
    variables = dict(of(queue))
    del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    assert sentence(command(tmp_path, "run", **variables)) == (
        "Error: No complete AWS credentials were found for the queue: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role."
    )


def test_the_profile_is_unknown(tmp_path: Path, queue: SqsEmulator) -> None:
    assert "Correct AWS_PROFILE or AWS_REGION" in sentence(command(tmp_path, "run", **of(queue, AWS_PROFILE="nobody")))


def test_nobody_answers_at_the_endpoint(tmp_path: Path, queue: SqsEmulator) -> None:
    said = sentence(command(tmp_path, "run", **of(queue, AWS_ENDPOINT_URL="http://127.0.0.1:9")))
    assert said == f"Error: The queue {queue.queue_url} did not answer: check the network, MG_QUEUE_URL and AWS_ENDPOINT_URL."


def test_the_dagster_home_is_no_folder(tmp_path: Path, queue: SqsEmulator) -> None:
    home = str(tmp_path / "gone")
    said = sentence(command(tmp_path, "run", **of(queue, DAGSTER_HOME=home)))
    assert said == f"Error: DAGSTER_HOME, {home}, is not the absolute path of a folder: create the folder, or unset DAGSTER_HOME."
    assert queue.depth() == 3


def test_a_setting_is_unusable(tmp_path: Path) -> None:
    said = sentence(command(tmp_path, "run", MG_BUSINESS_TIMEZONE="Atlantis"))
    assert said.startswith("Error: MG_BUSINESS_TIMEZONE: ")
    assert "'Atlantis' is not an IANA time zone; use a name such as America/New_York" in said
    assert "MG_BATCH_MESSAGES" in sentence(command(tmp_path, "run", MG_BATCH_MESSAGES="many"))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MG_LAKE_URI": "s3://bucket/a#b"}, "MG_LAKE_URI: Value error, its address holds #"),
        ({"MG_LAKE_URI": "a%20b"}, "MG_LAKE_URI: Value error, its folder holds %"),
        ({"MG_LAKE_URI": "a[b]"}, "MG_LAKE_URI: Value error, its folder holds ["),
        ({"MG_LAKE_URI": "~nobody-at-all/x"}, "MG_LAKE_URI: Value error, it begins with ~ and a name that is no user"),
        ({"MG_CATALOG": "why?/catalog.duckdb"}, "MG_CATALOG: Value error, its path holds ?"),
        ({"MG_CATALOG": "~nobody-at-all/catalog.duckdb"}, "MG_CATALOG: Value error, it begins with ~ and a name that is no user"),
        ({"DAGSTER_HOME": "{folder}/why?"}, "which Dagster does not support: choose a folder without it."),
    ],
)
def test_a_path_that_is_not_the_same_to_all(tmp_path: Path, queue: SqsEmulator, variables: dict[str, str], said: str) -> None:
    """Each worked once and was stuck then, or wrote beside the place that was named and had the messages deleted."""
    (tmp_path / "why?").mkdir()
    given = {name: value.format(folder=tmp_path) for name, value in variables.items()}
    before = queue.depth()
    assert said in sentence(command(tmp_path, "run", **of(queue, **given)))
    assert queue.depth() == before
    assert [path.name for path in tmp_path.iterdir()] == ["why?"]
    assert list((tmp_path / "why?").iterdir()) == []


def test_the_dbt_project_is_not_found(tmp_path: Path, queue: SqsEmulator) -> None:
    said = sentence(command(tmp_path, "run", **of(queue, MG_DBT_PROJECT_DIR=str(tmp_path / "nowhere"))))
    assert "No dbt project was found in" in said
    assert "set MG_DBT_PROJECT_DIR to the folder that holds dbt_project.yml" in said
    assert queue.depth() == 3


def test_the_lake_cannot_be_written(tmp_path: Path, queue: SqsEmulator) -> None:
    (tmp_path / "file").write_text("no folder")
    done = command(tmp_path, "run", **of(queue, MG_LAKE_URI=str(tmp_path / "file" / "lake")))
    said = done.stderr.replace("\n", " ")
    assert done.returncode == 1
    assert "bronze/event_feed in the lake" in said
    assert "cannot be written or read: access was refused. Check MG_LAKE_URI" in said
    # Whatever was received is back, and nothing was deleted.
    counts = queue.client().get_queue_attributes(QueueUrl=queue.queue_url, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("3", "0")


def test_the_lake_was_written_by_a_newer_contract(tmp_path: Path, queue: SqsEmulator) -> None:
    lake = tmp_path / "lake"
    receive(Lake(str(lake)), bundles(2))
    DeltaTable(str(lake / "bronze" / "event_feed")).alter.set_table_properties(
        {"mg_lakehouse.contractVersion": "2"}, raise_if_not_exists=False
    )
    done = command(tmp_path, "run", **of(queue, MG_LAKE_URI=str(lake)))
    assert done.returncode == 1
    assert "was written by contract version 2, and this mg-lakehouse knows 1: upgrade mg-lakehouse." in done.stderr.replace("\n", " ")
    assert queue.depth() == 3
    assert "contract version 2" in sentence(command(tmp_path, "status", MG_LAKE_URI=str(lake)))


def test_a_backfill_of_days_that_are_exchanged(tmp_path: Path) -> None:
    done = command(tmp_path, "backfill", "--from", "2026-03-02", "--to", "2026-03-01")
    assert sentence(done) == "Error: The last day 2026-03-01 is before the first, 2026-03-02: swap them."


def test_a_backfill_of_a_table_that_does_not_exist(tmp_path: Path) -> None:
    done = command(tmp_path, "backfill", "--from", "2026-03-02", "--table", "klicks")
    assert sentence(done).startswith("Error: There is no silver table 'klicks': choose among opens, clicks, ")
