"""The web service over a real socket: whole files or none, errors with_progress apart, and the key nowhere but in the form."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pydantic import SecretStr

from mg_lakehouse.errors import ConfigurationError, LakehouseError, PermanentError, TransientError
from mg_lakehouse.settings import Settings, load_settings
from mg_lakehouse.sources.daily_file import ActivityFile, download_activity, inspect
from mg_lakehouse.sources.summaries import account_summary, bulk_job_summary
from mg_lakehouse.sources.web_service import Patience, WebService, open_web_service, with_progress
from mg_lakehouse.testing.web_service import ActivityApi, ApiFault

DAY, TODAY, KEY = date(2026, 3, 1), date(2026, 3, 5), "k3y-that-nobody-may-see"
IMPATIENT = Patience(attempts=3, first_wait_seconds=0.01, longest_wait_seconds=0.02, connect_seconds=5, silence_seconds=1.5)
ITEMS = [f"<OpenActivity><ActivityId>o{number}</ActivityId></OpenActivity>" for number in range(300)]
WHOLE_AT_LAST = [
    ApiFault.STATUS_500,
    ApiFault.STATUS_503,
    ApiFault.DROP,
    ApiFault.DROP_UNANNOUNCED,
    ApiFault.TRUNCATED,
    ApiFault.DAMAGED,
    ApiFault.SLOW,
    ApiFault.ERROR_DOCUMENT,
]
FINAL = {
    ApiFault.NOT_A_FILE: "something that is neither a file nor an error",
    ApiFault.BOMB: "which no file of events does",
    ApiFault.REDIRECT: "a redirect",
    ApiFault.TWO_FILES: "a zip of 2 files",
}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ActivityApi]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ActivityApi({(DAY, "OPENS"): ITEMS}, api_key=KEY, today=lambda: TODAY) as server:
        yield server


def service(api: ActivityApi, key: str = KEY) -> WebService:
    return WebService(api.account_id, SecretStr(key), api.url, IMPATIENT)


def fetch(api: ActivityApi, folder: Path, day: date = DAY, kind: str = "OPENS", key: str = KEY) -> ActivityFile:
    return download_activity(service(api, key), day, kind, folder)


def test_a_file_is_fetched_whole_under_its_name(api: ActivityApi, tmp_path: Path) -> None:
    found = fetch(api, tmp_path)
    assert (found.items, found.bundles, found.complete, found.undecodable) == (300, 1, True, False)
    assert list(tmp_path.iterdir()) == [found.path]
    assert found.path.stat().st_mode & 0o777 == 0o600
    with found.reader() as reader:
        assert "".join(piece.text for piece in reader.pieces()) == "".join(ITEMS)


def test_the_form_is_as_documented(api: ActivityApi, tmp_path: Path) -> None:
    fetch(api, tmp_path)
    assert api.requests == [
        (
            "/3.1/WebService",
            {
                "Action": "AccountActivity",
                "AccountId": "12345",
                "ApiKey": KEY,
                "ActivityDate": "2026-03-01",
                "ActivityType": "OPENS",
                "UseCompression": "TRUE",
            },
        )
    ]


def test_the_same_file_has_the_same_digest_though_every_answer_differs(api: ActivityApi, tmp_path: Path) -> None:
    first = fetch(api, tmp_path)
    before = first.path.read_bytes()
    second = fetch(api, tmp_path)
    assert second.sha256 == first.sha256
    assert second.path.read_bytes() != before


def test_an_empty_day_is_a_file_without_items(api: ActivityApi, tmp_path: Path) -> None:
    found = fetch(api, tmp_path, kind="CLICKS")
    assert (found.items, found.bundles, found.complete) == (0, 1, True)


@pytest.mark.parametrize("fault", WHOLE_AT_LAST)
def test_a_passing_fault_is_tried_again_until_the_file_is_whole(api: ActivityApi, tmp_path: Path, fault: ApiFault) -> None:
    api.fail(fault, fault)
    assert fetch(api, tmp_path).items == 300
    assert len(api.requests) == 3
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("fault", WHOLE_AT_LAST)
def test_a_fault_that_does_not_pass_is_a_transient_error_and_leaves_nothing(api: ActivityApi, tmp_path: Path, fault: ApiFault) -> None:
    api.fail(*[fault] * 3)
    with pytest.raises(TransientError, match="The file OPENS of 2026-03-01 "):
        fetch(api, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", FINAL)
def test_what_is_no_file_is_refused_at_once(api: ActivityApi, tmp_path: Path, fault: ApiFault) -> None:
    api.fail(fault)
    with pytest.raises(PermanentError, match=FINAL[fault]):
        fetch(api, tmp_path)
    assert len(api.requests) == 1
    assert list(tmp_path.iterdir()) == []


REFUSED = {
    "AuthenticationException": (DAY, "OPENS", "wrong-key"),
    "cannot be a date in the future": (date(2026, 4, 1), "OPENS", KEY),
    "not available until after 8 am the following day": (TODAY, "OPENS", KEY),
    "has no such value": (DAY, "OPEN", KEY),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_the_service_refuses_is_permanent_and_never_tried_again(api: ActivityApi, tmp_path: Path, said: str) -> None:
    with pytest.raises(PermanentError, match=said) as raised:
        fetch(api, tmp_path, *REFUSED[said])
    assert str(raised.value).count("\n") == 0
    assert len(api.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_in_no_address_log_or_error(
    api: ActivityApi, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    errors = []
    for fault in (*WHOLE_AT_LAST, *FINAL):
        api.fail(*[fault] * 3)
        with pytest.raises(LakehouseError) as raised:
            fetch(api, tmp_path)
        api._faults.clear()
        errors.append(raised.value)
    api.api_key = "another"  # the service says the key that it was given, in its error
    with pytest.raises(PermanentError, match=r"\*\*\*") as raised_last:
        fetch(api, tmp_path)
    shown = [caplog.text, *capfd.readouterr(), *map(repr, [*errors, raised_last.value]), *(path for path, _ in api.requests)]
    chained = [repr(error.__cause__) + repr(error.__context__) for error in errors]
    assert caplog.records
    assert not [text for text in [*shown, *chained] if KEY in text]
    assert KEY not in repr(Settings(api_key=SecretStr(KEY)))


def test_a_plain_file_is_read_too(api: ActivityApi, tmp_path: Path) -> None:
    plain = tmp_path / "plain.xml"
    plain.write_bytes(api.file(DAY, "OPENS", 1))
    assert inspect(plain, day=DAY, activity_type="OPENS").sha256 == fetch(api, tmp_path).sha256


def test_what_unpacks_to_too_much_is_refused(api: ActivityApi, tmp_path: Path) -> None:
    path = fetch(api, tmp_path).path
    with pytest.raises(PermanentError, match="unpacks to more than 1,000 bytes"):
        inspect(path, day=DAY, activity_type="OPENS", largest_bytes=1_000)


def test_nobody_there_is_transient_and_a_wrong_address_is_not(tmp_path: Path, api: ActivityApi) -> None:
    with ActivityApi({}) as gone:
        url = gone.url
    with pytest.raises(TransientError, match="check the network and MG_API_URL"):
        download_activity(WebService("1", SecretStr(KEY), url, IMPATIENT), DAY, "OPENS", tmp_path)
    with pytest.raises(ConfigurationError, match="MG_API_URL is not the address"):
        download_activity(WebService("1", SecretStr(KEY), "https:///x", IMPATIENT), DAY, "OPENS", tmp_path)


def test_summaries_are_read(api: ActivityApi) -> None:
    day = account_summary(service(api), DAY)
    assert (day.counts["opens"], day.counts["clicks"], day.texts["result"]) == (300, 0, "REQUEST_SUCCESSFUL")
    assert account_summary(service(api), "2026-03").counts["opens"] == 300
    assert "bounces" in bulk_job_summary(service(api), request_id="b1").counts
    assert api.requests[-1][1]["BulkJobRequestId"] == "b1"
    api.fail(ApiFault.STATUS_503)
    assert account_summary(service(api), DAY).counts["opens"] == 300
    with pytest.raises(PermanentError, match="AuthenticationException"):
        account_summary(service(api, "wrong"), DAY)
    with pytest.raises(PermanentError, match="give its request id or its correlation id"):
        bulk_job_summary(service(api))
    with pytest.raises(PermanentError, match="Invalid day or month"):
        account_summary(service(api), "March")


def test_missing_credentials_are_named() -> None:
    with pytest.raises(ConfigurationError, match="set MG_ACCOUNT_ID and MG_API_KEY"):
        open_web_service(Settings(account_id=None, api_key=None))
    with pytest.raises(ConfigurationError, match="set MG_API_KEY"):
        open_web_service(Settings(account_id="1", api_key=None))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MG_API_URL", "http://api.messagegears.net/3.1/WebService", "must begin with https://"),
        ("MG_ACTIVITY_TYPES", "OPENS,OPEN", "OPEN is not an activity type"),
        ("MG_ACTIVITY_TIMEZONE", "EDT!", "not an IANA time zone"),
    ],
)
def test_unusable_settings_are_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name}: .*{said}"):
        load_settings(dotenv=None)


def test_types_are_given_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MG_ACTIVITY_TYPES", "clicks, OPENS")
    assert load_settings(dotenv=None).activity_types == ("CLICKS", "OPENS")
    monkeypatch.delenv("MG_ACTIVITY_TYPES")
    assert len(load_settings(dotenv=None).activity_types) == 17


def test_progress_is_told_each_time_that_64_mib_more_are_there() -> None:
    chunk, reports = bytes(40 * 2**20), list[int]()
    assert sum(len(each) for each in with_progress([chunk] * 5, reports.append)) == 200 * 2**20
    assert reports == [80 * 2**20, 160 * 2**20, 200 * 2**20]
