"""`mg-lakehouse suppressions export`, as a person or a cron line uses it."""

from __future__ import annotations

import csv
import io
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, get_args

import polars as pl
import pytest
import yaml

from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.suppression_filter import Reason
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.cli.commands import command, process, sentence
from mg_lakehouse_tests.gold.helpers import append, build, event

FIRST: Final = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECOND: Final = datetime(2026, 3, 11, tzinfo=UTC)
"""The very beginning of the next day."""

RECEIVED: Final = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
MARK: Final = "2026-03-20T08:30:00Z"
"""An hour before the newest row."""
GOES_ON: Final = f"Gold covers messages received before {MARK}: the next export continues with\n  --since {MARK}"

EVENTS: Final = [
    event("bounces", at=FIRST, email="ann@corp.example", category_code=10),
    event("bounces", at=SECOND + timedelta(days=9), email="ann@corp.example", category_code=30),
    # Quoted in CSV: a local part may hold a comma.
    event("bounces", at=FIRST, email='"ben, b"@corp.example', category_code=10),
    event("unsubscribes", at=SECOND, email='"ben, b"@corp.example'),
    event("unsubscribes", at=SECOND - timedelta(milliseconds=1), email="cät@bücher.example"),
    event("sms_inbounds", at=SECOND, request=None, phone="+15550001", inbound_message_type="STOP"),
    event("mobile_push_delivery_failures", at=FIRST, device="token-1", category="EXPIRED", received_at=RECEIVED - timedelta(days=1)),
    # Dan took it back.
    event("sms_inbounds", at=FIRST, request=None, phone="+15550002", inbound_message_type="STOP"),
    event("sms_inbounds", at=SECOND, request=None, phone="1 555 0002", inbound_message_type="START"),
]
ANN, BEN, CAT, PHONE, TOKEN = "ann@corp.example", '"ben, b"@corp.example', "cät@bücher.example", "+15550001", "token-1"
CAT_IN_DNS: Final = "cät@xn--bcher-kva.example"
"""The same mailbox, its domain as the DNS has it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake that holds the list."""
    folder = tmp_path_factory.mktemp("export")
    lake = Lake(str(folder / ".lake"))
    append(lake, EVENTS, received=RECEIVED)
    build(lake, select="suppression_list suppression_removals")
    return folder


def exported(folder: Path, *options: str) -> list[dict[str, str]]:
    done = command(folder, "suppressions", "export", *options)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def addresses(folder: Path, *options: str) -> list[str]:
    return [row["address"] for row in exported(folder, *options)]


def test_all_of_it_goes_to_standard_output_in_order_and_the_number_beside_it(folder: Path) -> None:
    done = process(folder, "suppressions", "export", LC_ALL="en_US.ISO-8859-1")
    assert done.returncode == 0
    assert done.stderr.strip() == f"6 addresses were written.\n{GOES_ON}"
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["channel"], row["address"]) for row in rows] == [
        ("email", BEN),
        ("email", ANN),
        ("email", CAT),
        ("email", CAT_IN_DNS),
        ("push", TOKEN),
        ("sms", PHONE),
    ]
    assert (rows[0]["reasons"], rows[0]["first_reason"]) == ("hard_bounce;unsubscribe", "hard_bounce")
    assert (rows[0]["first_evidence_at"], rows[0]["unsubscribed_at"]) == ("2026-03-10T12:00:00.000Z", "2026-03-11T00:00:00.000Z")
    assert (rows[0]["complained_at"], rows[0]["last_request_id"], rows[5]["last_request_id"]) == ("", "t06926-job", "")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        # Ben's second reason is new; Ann's second bounce is one more of the same; Cät was a millisecond earlier.
        pytest.param(["--evidence-since", "2026-03-11"], [BEN, PHONE], id="of events since a date"),
        pytest.param(["--evidence-since", "2026-03-10"], [BEN, ANN, CAT, CAT_IN_DNS, TOKEN, PHONE], id="of events since the first date"),
        pytest.param(["--evidence-since", "2026-03-12"], [], id="of events since a later date"),
        # The token's failure was received a day before all the others.
        pytest.param(["--since", "2026-03-20"], [BEN, ANN, CAT, CAT_IN_DNS, PHONE], id="since a date"),
        pytest.param(["--since", MARK], [BEN, ANN, CAT, CAT_IN_DNS, PHONE], id="since the mark"),
        pytest.param(["--since", "2026-03-20T04:30:01-05:00"], [], id="since a later time"),
        pytest.param(["--removed-since", "2026-03-20T09:30:00"], ["+15550002"], id="removed"),
        pytest.param(["--removed-since", "2026-03-21"], [], id="removed since a later date"),
        pytest.param(["--channel", "sms"], [PHONE], id="by channel"),
        pytest.param(["--reason", "unsubscribe"], [BEN, CAT, CAT_IN_DNS], id="by reason"),
        pytest.param(["--reason", "hard_bounce", "--evidence-since", "2026-03-11", "--channel", "email"], [BEN], id="by all"),
    ],
)
def test_the_rows_that_are_asked_for(folder: Path, options: list[str], wanted: list[str]) -> None:
    assert addresses(folder, *options) == wanted


def test_a_file_is_its_owners_alone_and_takes_the_place_of_an_older_one(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "list.csv"
    target.write_text("old")
    target.chmod(0o644)
    done = command(folder, "suppressions", "export", "--output", str(target))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.strip() == f"6 addresses were written to {target}.\n{GOES_ON}"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [row["address"] for row in csv.DictReader(io.StringIO(target.read_text(encoding="utf-8")))] == [
        BEN,
        ANN,
        CAT,
        CAT_IN_DNS,
        TOKEN,
        PHONE,
    ]
    assert list(tmp_path.iterdir()) == [target]


def test_parquet_keeps_the_types(folder: Path, tmp_path: Path) -> None:
    for name, options in {"list.parquet": [], "list.bin": ["--format", "parquet"]}.items():
        done = command(folder, "suppressions", "export", "--channel", "email", "--output", str(tmp_path / name), *options)
        assert done.returncode == 0, done.stderr
        found = pl.read_parquet(tmp_path / name)
        assert found.select("address", "reasons", "newest_reason_at").rows() == [
            (BEN, ["hard_bounce", "unsubscribe"], SECOND),
            (ANN, ["hard_bounce"], FIRST),
            (CAT, ["unsubscribe"], SECOND - timedelta(milliseconds=1)),
            (CAT_IN_DNS, ["unsubscribe"], SECOND - timedelta(milliseconds=1)),
        ]
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_parquet_needs_a_file(folder: Path) -> None:
    done = command(folder, "suppressions", "export", "--format", "parquet")
    assert (done.returncode, done.stdout) == (2, "")
    assert "name a file with --output" in " ".join(done.stderr.replace("│", " ").split())


def test_the_list_and_what_left_it_are_two_exports(folder: Path) -> None:
    done = command(folder, "suppressions", "export", "--removed-since", "2026-03-21", "--since", "2026-03-21")
    assert (done.returncode, done.stdout) == (2, "")
    assert "It writes another list: use it without --since and --evidence-since." in " ".join(done.stderr.replace("│", " ").split())


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "list.csv"
    said = sentence(command(folder, "suppressions", "export", "--output", str(target)))
    assert said == f"Error: The file {target} cannot be written (No such file or directory): choose another."
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_was_never_built_says_what_to_run(tmp_path: Path) -> None:
    said = sentence(command(tmp_path, "suppressions", "export", "--output", "list.csv"))
    assert said == "Error: gold/suppression_list in the lake .lake was never built: run `mg-lakehouse run`, or build gold in Dagster."
    assert list(tmp_path.iterdir()) == []


def test_the_reasons_are_those_of_the_project() -> None:
    file = project_dir(Settings()) / "models" / "marts" / "recipients" / "suppression_list.yml"
    (model,) = yaml.safe_load(file.read_text())["models"]
    tests = model["data_tests"]
    allowed = next(test["allowed_values"]["arguments"]["allowed"] for test in tests if "allowed_values" in test)
    assert list(get_args(Reason)) == allowed["first_reason"]
