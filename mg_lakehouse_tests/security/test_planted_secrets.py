"""Whatever a run prints or stores outside of the tables that are for it, holds no address, no body, no key and no credential."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.cli.commands import process
from mg_lakehouse_tests.e2e.test_end_to_end import END

pytestmark = pytest.mark.slow

KEY = "planted-key-0a1b2c3d"
CREDENTIAL = "planted-credential-4e5f6071"
ADDRESSES = ("planted.person@example.com", "+15550199777", "planted-device-77aa", "198.51.100.77")
TEXT = "planted words of a person's message"
PLANTED = f"""<ActivityItems>
<ClickActivity><ActivityId>s1</ActivityId><RequestId>t1</RequestId><EmailAddress>{ADDRESSES[0]}</EmailAddress>
<IpAddress>{ADDRESSES[3]}</IpAddress><Url>https://x.example/?who={ADDRESSES[0]}</Url><Timestamp>2026-03-19T12:00:00.000-05:00</Timestamp></ClickActivity>
<BouncedMessageActivity><ActivityId>s2</ActivityId><RequestId>t1</RequestId><EmailAddress>{ADDRESSES[0]}</EmailAddress>
<Details>550 {ADDRESSES[0]} {TEXT}</Details><Timestamp>2026-03-19T12:00:00.000-05:00</Timestamp></BouncedMessageActivity>
<InboundSmsActivity><ActivityId>s3</ActivityId><FromAddress>{ADDRESSES[1]}</FromAddress><Message>{TEXT}</Message>
<Timestamp>2026-03-19T12:00:00.000-05:00</Timestamp></InboundSmsActivity>
<DeliveredMobilePushActivity><ActivityId>s4</ActivityId><RequestId>t1</RequestId><DeviceId>{ADDRESSES[2]}</DeviceId>
<Timestamp>2026-03-19T12:00:00.000-05:00</Timestamp></DeliveredMobilePushActivity>
<JobErrorActivity><ActivityId>s5</ActivityId><RequestId>t1</RequestId><JobError><ErrorCode>No {ADDRESSES[0]}</ErrorCode>
<ErrorMessage>{ADDRESSES[0]}</ErrorMessage></JobError><Timestamp>2026-03-19T12:00:00.000-05:00</Timestamp></JobErrorActivity>
<RenderErrorActivity><ActivityId>s6</ActivityId><RequestId>t1</RequestId><EmailAddress>{ADDRESSES[0]}</EmailAddress><RenderErrors><RenderError>
<ErrorCode>{ADDRESSES[1]}</ErrorCode><ErrorMessage>{ADDRESSES[0]}</ErrorMessage></RenderError></RenderErrors>
<Timestamp>2026-03-19T12:00:00.000-05:00</Timestamp></RenderErrorActivity>
<OpenActivity><EmailAddress>{ADDRESSES[0]} & {TEXT}</EmailAddress></OpenActivity>
<SurpriseActivity><Who>{ADDRESSES[0]}</Who><Said>{TEXT}</Said><Timestamp>x</Timestamp></SurpriseActivity>
</ActivityItems>"""
SECRETS = (KEY, CREDENTIAL, TEXT, *ADDRESSES)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a lake and a Dagster home after two runs, one of which fails; and all that was printed."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "home").mkdir()
    (folder / "temp").mkdir()
    with SqsEmulator() as queue:
        queue.publish(
            [PLANTED, *(bundle.body for bundle in generate(FeedPlan(seed=9, events=300, start=END - timedelta(days=2), end=END)).bundles)]
        )
        variables = queue.environment | {
            "MG_PII_KEY": KEY,
            "AWS_SECRET_ACCESS_KEY": CREDENTIAL,
            "DAGSTER_HOME": str(folder / "home"),
            "TMPDIR": str(folder / "temp"),
        }
        done = [process(folder, "run", **variables), process(folder, "status", **variables), process(folder, "reconcile", **variables)]
        assert [each.returncode for each in done] == [0, 0, 0], done[0].stderr
        # A run that fails in the middle of the content: the body is there, and the table of its clicks cannot be written.
        queue.publish([PLANTED.replace("<ActivityId>s", "<ActivityId>t")])
        clicks = DeltaTable(folder / ".lake" / "silver" / "clicks")
        clicks.alter.set_table_properties({"mg_lakehouse.contractVersion": "2"}, raise_if_not_exists=False)
        failed = process(folder, "run", **variables)
        assert failed.returncode == 1
        done.append(failed)
    return folder, "".join(each.stdout + each.stderr for each in done)


def found_in(data: bytes) -> list[str]:
    return [secret for secret in SECRETS if secret.encode() in data or json.dumps(secret)[1:-1].encode() in data]


def test_nothing_is_printed(ran: tuple[Path, str]) -> None:
    assert found_in(ran[1].encode()) == []


def test_nothing_is_in_dagsters_storage_or_the_temporary_folder(ran: tuple[Path, str]) -> None:
    files = [file for name in ("home", "temp") for file in (ran[0] / name).rglob("*") if file.is_file()]
    assert any(file.suffix == ".db" for file in files)
    assert {file.name: found for file in files if (found := found_in(file.read_bytes()))} == {}


def test_nothing_is_in_a_delta_log(ran: tuple[Path, str]) -> None:
    logs = sorted((ran[0] / ".lake").rglob("_delta_log/*.json"))
    assert len(logs) > 40
    assert {str(file): found for file in logs if (found := found_in(file.read_bytes()))} == {}


def test_it_is_in_the_tables_that_are_for_it_and_not_in_gold(ran: tuple[Path, str]) -> None:
    """That the search finds what is there: bronze and silver hold all but the key and the credential."""
    texts = {}
    for layer in ("bronze", "silver", "gold"):
        files = [file for file in (ran[0] / ".lake" / layer).rglob("*.parquet") if "_delta_log" not in file.parts]
        texts[layer] = "".join(pl.read_parquet(file, hive_partitioning=False).write_json() for file in files).encode()
    assert set(found_in(texts["bronze"])) == {TEXT, *ADDRESSES}
    assert set(found_in(texts["silver"])) == {TEXT, *ADDRESSES}
    assert found_in(texts["gold"]) == []
