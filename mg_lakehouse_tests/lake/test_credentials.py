"""Whom the store is asked as: credentials are resolved once, refreshed before they expire, and looked for anew where the environment changes."""

from __future__ import annotations

import json
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mg_lakehouse.location import Location

LAKE = Location("s3://bucket/lake")


class Provider:
    """A `credential_process`, which AWS's tools start for credentials: each start is counted, and gives other keys."""

    def __init__(self, folder: Path) -> None:
        self._calls = folder / "calls"
        self._answer = folder / "answer.json"
        program = folder / "provider"
        program.write_text(
            f"#!{sys.executable}\nimport json\n"
            f"calls = open({str(self._calls)!r}, 'a+')\ncalls.write('.')\ncalls.seek(0)\nnumber = len(calls.read())\n"
            f"answer = json.load(open({str(self._answer)!r}))\nanswer['AccessKeyId'] += str(number)\nprint(json.dumps(answer))\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.config = folder / "config"
        self.config.write_text(f"[default]\nregion = eu-west-1\ncredential_process = {program}\n")

    def expire_in(self, span: timedelta) -> None:
        """Have the credentials from now on expire after a time."""
        expires = (datetime.now(UTC) + span).isoformat()
        known: dict[str, Any] = {
            "Version": 1,
            "AccessKeyId": "key",
            "SecretAccessKey": "secret",
            "SessionToken": "token",
            "Expiration": expires,
        }
        self._answer.write_text(json.dumps(known))

    @property
    def calls(self) -> int:
        """How often it was started."""
        return len(self._calls.read_text()) if self._calls.exists() else 0


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Provider:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    found = Provider(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(found.config))
    return found


def keys() -> str:
    return LAKE.storage_options()["aws_access_key_id"]


def test_credentials_are_resolved_once_however_many_tables_are_opened_at_once(provider: Provider) -> None:
    provider.expire_in(timedelta(hours=2))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: LAKE.storage_options(), range(64)))
    assert provider.calls == 1
    assert all(each == found[0] for each in found)
    assert found[0] == {
        "aws_region": "eu-west-1", "aws_access_key_id": "key1", "aws_secret_access_key": "secret", "aws_session_token": "token",
    }  # fmt: skip


def test_credentials_are_refreshed_before_they_expire(provider: Provider) -> None:
    provider.expire_in(timedelta(minutes=1))
    keys()
    soon = provider.calls
    provider.expire_in(timedelta(hours=2))
    assert [keys(), keys()] == [f"key{soon + 1}"] * 2
    assert provider.calls == soon + 1


def test_another_file_or_environment_is_looked_at(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.expire_in(timedelta(hours=2))
    assert keys() == "key1"
    provider.config.write_text("[default]\naws_access_key_id = of-the-file\naws_secret_access_key = x\n")
    assert keys() == "of-the-file"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    assert keys() == "of-the-environment"


def test_credentials_that_come_later_are_found(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.config.write_text("[default]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "aws_access_key_id" not in LAKE.storage_options()
    provider.config.write_text("[default]\naws_access_key_id = late\naws_secret_access_key = x\n")
    assert keys() == "late"


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "ca-central-1"])
@pytest.mark.parametrize(
    ("asked", "host"),
    [
        (("FIPS",), "s3-fips.{}.amazonaws.com"),
        (("DUALSTACK",), "s3.dualstack.{}.amazonaws.com"),
        (("FIPS", "DUALSTACK"), "s3-fips.dualstack.{}.amazonaws.com"),
    ],
)
def test_the_endpoint_of_fips_or_of_both_kinds_of_addresses_is_that_of_aws(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, region: str, asked: tuple[str, ...], host: str
) -> None:
    """Names by AWS's list of endpoints of S3."""
    provider.expire_in(timedelta(hours=2))
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    for each in asked:
        monkeypatch.setenv(f"AWS_USE_{each}_ENDPOINT", "true")
    assert LAKE.storage_options()["aws_endpoint_url"] == f"https://{host.format(region)}"


def test_an_endpoint_that_is_named_goes_before_it(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.expire_in(timedelta(hours=2))
    assert "aws_endpoint_url" not in LAKE.storage_options()
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example")
    assert LAKE.storage_options()["aws_endpoint_url"] == "https://s3.example"
