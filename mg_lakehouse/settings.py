"""Settings: every option of the pipeline, given in code or YAML, or read from the environment and from ``.env``.

Nothing is required, so definitions load without any setting. The AWS variables are the standard
ones, and boto3 reads them itself; this module only copies them from ``.env`` into the environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import load_dotenv
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.events.catalogue import activity_types
from mg_lakehouse.location import NO_HOME, fault_of

__all__ = ["Settings", "check_settings", "load_settings"]

_SQS_MAX_VISIBILITY_SECONDS: Final = 43_200
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_UMASK: Final = re.compile(r"0?0[0-7]{2}")
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Settings(BaseModel):
    """All settings. In the environment, which :func:`load_settings` reads, each is ``MG_<NAME IN CAPITALS>``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # `default=` by name: without it pyright, and so a user's editor, takes every field for one that must be given.
    feed: str | None = Field(
        default=None,
        description="Name of the feed, if a Dagster project has several: it precedes the names of its assets, jobs and resources.",
    )
    lake_uri: Annotated[str, NoDecode] = Field(default=".lake", description="Root of the lake: a folder or an `s3://` address.")
    lake_umask: str | None = Field(
        default=None,
        description="Umask, in octal digits, while a local lake is written. By default a new lake's files are 0640 and its folders 0750; a lake whose "
        "folder others may enter goes on as it was.",
    )
    queue_url: str | None = Field(default=None, description="Address of the SQS queue that MessageGears sends to.")
    business_timezone: str = Field(default="America/New_York", description="Time zone of the `*_local` dates in gold.")
    pii_key: SecretStr | None = Field(default=None, description="Key of the hash that replaces addresses in gold.")
    dbt_project_dir: Path | None = Field(default=None, description="Folder of the dbt project, if it is not the packaged one.")

    cache_dir: Path | None = Field(
        default=None,
        description="Folder for what is made of the dbt project and kept between processes. By default `target` in the project; where that cannot "
        "be written, `mg-lakehouse` in `XDG_CACHE_HOME` or `~/.cache`, and without a home in the folder for temporary files.",
    )
    catalog: Path | None = Field(
        default=None, description="The DuckDB file of views, by default `catalog.duckdb` in the root of a local lake."
    )

    account_id: str | None = Field(default=None, description="MessageGears account whose daily files are fetched.")
    api_key: SecretStr | None = Field(default=None, description="API key of that account.")
    api_url: str = Field(default="https://api.messagegears.net/3.1/WebService", description="Address of MessageGears' web service.")
    activity_timezone: str = Field(default="America/New_York", description="Time zone in which the days of the daily files begin and end.")
    activity_types: Annotated[tuple[str, ...], NoDecode] = Field(
        default=activity_types(), description="Types of the daily files, separated by commas."
    )
    activity_start_date: date = Field(default=date(2024, 1, 1), description="First day whose daily files can be fetched.")

    reconciled_jobs: int = Field(default=50, ge=0, description="Bulk jobs of a day whose summaries are fetched, the largest first.")

    batch_messages: int = Field(default=2_000, ge=1, le=100_000, description="Messages in one bronze commit, at most.")
    batch_bytes: int = Field(default=32 * 2**20, ge=1, description="Bytes of bodies in one bronze commit, at most.")
    batch_seconds: float = Field(default=5.0, gt=0, description="Age in seconds at which a bronze commit is made, however small.")
    receivers: int = Field(default=4, ge=1, le=64, description="Threads that receive from the queue.")
    wait_seconds: int = Field(default=1, ge=0, le=20, description="Long poll of a receive, in seconds.")
    visibility_seconds: int = Field(
        default=300,
        ge=30,
        le=_SQS_MAX_VISIBILITY_SECONDS,
        description="SQS visibility timeout in seconds; extended every third of it while a message is held.",
    )
    max_seconds: float = Field(default=600.0, gt=0, description="Time that one run may drain the queue, in seconds.")
    sensor_messages: int = Field(default=1_000, ge=1, description="Waiting messages at which the sensor starts a run at once.")
    sensor_seconds: float = Field(
        default=30.0, ge=0, description="Time after the last run at which the sensor starts one for any waiting message."
    )
    heartbeat_seconds: float = Field(
        default=5.0,
        ge=0.5,
        le=60,
        description="Seconds between two heartbeats of a run. A run that misses four is marked, and ended if no heartbeat follows within three more.",
    )
    stalled_minutes: float = Field(
        default=15.0,
        gt=0,
        le=1_440,
        description="Minutes that messages may wait while nothing is ingested, until the check `messages_are_ingested` fails.",
    )
    flatten_bytes: int = Field(
        default=128 * 2**20, ge=1, description="Bytes of bodies that are flattened at a time, while as many are committed."
    )
    gold_part_rows: int = Field(
        default=1_000_000, ge=1, description="Rows of its inputs that a gold model is built from at a time; a job with more is built whole."
    )

    small_files: int = Field(default=32, ge=2, description="Small files in today's partition at which the hourly compaction merges them.")
    compacted_file_bytes: int = Field(default=128 * 2**20, ge=2**20, description="Size of a compacted file, about.")
    sort_bytes: int = Field(default=512 * 2**20, ge=64 * 2**20, description="Memory in which a day is sorted before it spills to disk.")
    keep_files_days: int = Field(default=7, ge=1, le=365, description="Days that replaced and orphaned files are kept.")
    keep_log_days: int = Field(default=7, ge=2, le=3650, description="Days that the entries of the Delta logs are kept.")

    alert_slack_channel: str | None = Field(default=None, description="Slack channel that gets the alerts; without one, none are sent.")
    alert_slack_token: SecretStr | None = Field(default=None, description="Token of the Slack bot that sends them.")

    @field_validator("feed")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        if name is not None and not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a feed name; use lower-case letters, digits and _, such as transactional")
        return name

    @field_validator("lake_uri")
    @classmethod
    def _one_place(cls, uri: str) -> str:
        if fault := fault_of(uri):
            raise ValueError(fault)
        return uri

    @field_validator("lake_umask")
    @classmethod
    def _an_umask(cls, umask: str | None) -> str | None:
        if umask is not None and not _UMASK.fullmatch(umask):
            raise ValueError(f"{umask!r} is no umask that leaves the owner everything; use three octal digits such as 027, 007 or 022")
        return umask

    @field_validator("cache_dir")
    @classmethod
    def _a_home(cls, folder: Path | None) -> Path | None:
        try:
            return None if folder is None else folder.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(NO_HOME) from error

    @field_validator("catalog")
    @classmethod
    def _no_question_mark(cls, file: Path | None) -> Path | None:
        if file is None:
            return file
        try:
            path = file.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(NO_HOME) from error
        if "?" in str(path):
            raise ValueError("its path holds ?, after which DuckDB creates no file; choose a path without it")
        return file

    @field_validator("activity_types", mode="before")
    @classmethod
    def _known_types(cls, given: Any) -> tuple[str, ...]:
        named = [name.strip().upper() for name in (given.split(",") if isinstance(given, str) else given)]
        unknown = [name for name in named if name not in activity_types()]
        if unknown or not named:
            raise ValueError(f"{', '.join(unknown) or 'nothing'} is not an activity type; use some of {', '.join(activity_types())}")
        return tuple(dict.fromkeys(named))

    @field_validator("api_url")
    @classmethod
    def _encrypted(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError("it must begin with https://, for the API key is sent to it")
        return url

    @field_validator("business_timezone", "activity_timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is not an IANA time zone; use a name such as America/New_York") from error
        return name


class _Environment(Settings, BaseSettings):
    """Settings as the environment has them."""

    model_config = SettingsConfigDict(env_prefix="MG_", extra="ignore", frozen=True, env_ignore_empty=True)


def load_settings(*, dotenv: Path | None = Path(".env")) -> Settings:
    """Read the settings; values of the environment win over those of ``dotenv``.

    Raises:
        ConfigurationError: a value is unusable; the text names the variable and what it takes.
    """
    if dotenv is not None:
        load_dotenv(dotenv, override=False)
    try:
        return _Environment()
    except ValidationError as error:
        raise ConfigurationError(f"MG_{_first_fault(error, str.upper)}") from None


def check_settings(values: Mapping[str, Any]) -> Settings:
    """Make settings from values by name, without the environment.

    Raises:
        ConfigurationError: a value is unusable; the text names the setting and what it takes.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_first_fault(error, str)) from None


def _first_fault(error: ValidationError, spelled: Callable[[str], str]) -> str:
    """Describe the first invalid value without quoting it: it may be a key."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{spelled('_'.join(str(part) for part in first['loc']))}: {first['msg']}."
