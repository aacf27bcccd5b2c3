"""The names that dbt and Python share.

dbt's macros and models write the same names, and nothing compares the two as they run.
What belongs here: where the project keeps its models, what marks the tables of the lake, the scopes, what DuckDB's schemas and views are called,
environment variables, and the tables and columns of gold that Python reads by name. A test compares each with the compiled project.
What does not: what Python does with a name. Queries are in ``serving/queries``; the same test binds them to the columns that the models have.
It imports nothing large. How a model becomes a table begins in :mod:`mg_lakehouse.gold.engine`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, TypedDict, cast, get_args

from mg_lakehouse.errors import ConfigurationError

__all__ = [
    "AS_OF",
    "BOUNCE_DAYS",
    "BUILD_VARIABLE",
    "BUSINESS_TIMEZONE",
    "DAYS",
    "DBT_DATABASE",
    "DIM_JOBS",
    "ENGINE",
    "EXPORTED_BY",
    "FCT_MESSAGES",
    "FEED_HEALTH_HOURLY",
    "GOLD_SCHEMA",
    "JOB_METRICS",
    "JOB_METRICS_DAILY",
    "KNOWN_ROWS",
    "LAKE_URI",
    "MAILBOX_PROVIDER_DAILY",
    "MATERIALIZED",
    "MESSAGE_EVENTS",
    "OWN_ROWS",
    "PII_KEY",
    "PROJECT_DIR",
    "READ",
    "REQUESTS",
    "RESTATEMENT_LOG",
    "STAGED_SCHEMA",
    "SUPPRESSION_LIST",
    "SUPPRESSION_REMOVALS",
    "TESTED_SCHEMA",
    "UNRESOLVED_OPT_OUTS",
    "BuildVariables",
    "Scope",
    "changed_view",
    "feed_view",
    "marts",
    "scope_of",
    "scope_schema",
    "scoped_view",
    "with_packages",
]

# What the macros and the models' configuration say.

ENGINE: Final = "mg_engine"
"""dbt's target of the SQL that the engine runs: with it the macros name the engine's views, with any other the tables themselves."""

MATERIALIZED: Final = "delta"
"""The materialization of the models that are tables of the lake."""

Scope = Literal["requests", "days", "event_days", "received_days", "whole", "additions", "changes", "static"]
"""What a model is kept up to date by, as its configuration names it."""


def scope_of(name: str) -> Scope:
    """The scope of a name.

    Raises:
        ConfigurationError: there is no such scope.
    """
    if name not in get_args(Scope):
        raise ConfigurationError(f"The scope {name!r} of a gold table is unknown: use one of {', '.join(get_args(Scope))}.")
    return cast("Scope", name)


# What stands in the DuckDB of a build.

GOLD_SCHEMA: Final = "gold"
"""Schema of the gold tables, as the newest build left them, and of the seeds."""

STAGED_SCHEMA: Final = "staged"
"""Schema of the rows on their way to a commit."""

TESTED_SCHEMA: Final = "tested"
"""Schema of what this build made, which is what its data tests look at."""

BUILD_VARIABLE: Final = "mg_build"
"""DuckDB variable of :class:`BuildVariables`."""

KNOWN_ROWS: Final = "known"
"""View of the rows that a model of the scope ``additions`` has already."""

OWN_ROWS: Final = "own"
"""What ``also_touched`` calls the rows that the model has already."""

DAYS: Final = "days"
"""Table of the days that a build makes rows of, as ``event_date``."""

REQUESTS: Final = "requests"
"""Table of the jobs that a build makes rows of, as ``request_id``."""


class BuildVariables(TypedDict):
    """What holds for a whole build, which the macro ``of_build`` reads."""

    hmac_inner: bytes
    hmac_outer: bytes
    as_of: datetime
    build_id: str
    business_timezone: str


def scope_schema(model: str) -> str:
    """Schema of the views of a model, which the materialization puts on the search path."""
    return f"scope_{model}"


def scoped_view(table: str) -> str:
    """View of the rows of an input that a model may look at."""
    return f"scoped_{table}"


def feed_view(table: str) -> str:
    """What changed in an input of a model of the scope ``changes``."""
    return f"feed_{table}"


def changed_view(table: str) -> str:
    """What ``also_touched`` calls the rows of an input of ``touched_by`` that changed."""
    return f"changed_{table}"


# The project's folders.

_MARTS: Final = "models/marts"
_PACKAGES: Final = "dbt_packages"


def marts(project: Path) -> tuple[str, ...]:
    """Names of the gold tables that a dbt project builds, in alphabetical order: its marts and those of its packages, in whatever folder of them they are."""
    return tuple(sorted(file.stem for folder in with_packages(project) for file in (folder / _MARTS).rglob("*.sql")))


def with_packages(project: Path) -> list[Path]:
    """The folder of a dbt project, and those of the packages that `dbt deps` installed or linked into it."""
    return [project, *sorted(folder.resolve() for folder in (project / _PACKAGES).glob("*") if folder.is_dir())]


# The environment of dbt by itself.

AS_OF: Final = "MG_AS_OF"
"""Fixes the time that a build is made for; default now."""

DBT_DATABASE: Final = "DBT_DATABASE"
"""The file that dbt by itself makes its tables in; the profile has a default."""

LAKE_URI: Final = "MG_LAKE_URI"
BUSINESS_TIMEZONE: Final = "MG_BUSINESS_TIMEZONE"
PROJECT_DIR: Final = "MG_DBT_PROJECT_DIR"
PII_KEY: Final = "MG_PII_KEY"

# Gold's tables that Python reads by name.

BOUNCE_DAYS: Final = "bounce_days"
DIM_JOBS: Final = "dim_jobs"
FCT_MESSAGES: Final = "fct_messages"
FEED_HEALTH_HOURLY: Final = "feed_health_hourly"
JOB_METRICS: Final = "job_metrics"
JOB_METRICS_DAILY: Final = "job_metrics_daily"
MAILBOX_PROVIDER_DAILY: Final = "mailbox_provider_daily"
MESSAGE_EVENTS: Final = "message_events"
RESTATEMENT_LOG: Final = "restatement_log"
SUPPRESSION_LIST: Final = "suppression_list"
SUPPRESSION_REMOVALS: Final = "suppression_removals"
UNRESOLVED_OPT_OUTS: Final = "unresolved_opt_outs"

EXPORTED_BY: Final[Mapping[str, str]] = {SUPPRESSION_LIST: "listed_at", SUPPRESSION_REMOVALS: "removed_at"}
"""The tables that are exported, and the time by which the rows since the export before are found."""

READ: Final[Mapping[str, tuple[str, ...]]] = {
    BOUNCE_DAYS: (),
    DIM_JOBS: ("request_id", "request_type", "first_send_at", "first_event_at", "last_event_at", "maturity"),
    FCT_MESSAGES: (),
    FEED_HEALTH_HOURLY: ("event_type", "received_hour", "received_date", "duplicates"),
    JOB_METRICS: (
        "request_id",
        "channel",
        "targeted",
        "delivered",
        "bounced",
        "render_failed",
        "open_events",
        "unique_openers",
        "click_events",
        "unique_clickers",
        "unsubscribers",
        "complainers",
        "job_errors",
    ),
    JOB_METRICS_DAILY: ("request_id", "event_date"),
    MAILBOX_PROVIDER_DAILY: (),
    MESSAGE_EVENTS: (),
    RESTATEMENT_LOG: (),
    SUPPRESSION_LIST: ("channel", "address", "reasons", "newest_reason_at", EXPORTED_BY[SUPPRESSION_LIST]),
    SUPPRESSION_REMOVALS: ("channel", "address", "reasons", EXPORTED_BY[SUPPRESSION_REMOVALS]),
    UNRESOLVED_OPT_OUTS: (),
}
"""The tables that Python reads by name, and their columns that it names outside of queries."""
