"""Dagster resources: the lake, the queue, the web service, progress reports, and a run's heartbeat.

They hold addresses, never credentials: those stay in the environment, where boto3 and the settings read them. A project may hold several
feeds, and Dagster's resource names are global, so an op gets its own feed's resources from :class:`FeedResources`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol, Self

import dagster as dg
from pydantic import Field

from mg_lakehouse._util.progress import Step, report_step
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.run_heartbeats import keep_beating
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.modes import closed_modes
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import EventQueue, open_queue
from mg_lakehouse.sources.web_service import WebService, open_web_service

__all__ = [
    "EventFeedResource",
    "FeedResources",
    "HeartbeatResource",
    "LakeResource",
    "ProgressResource",
    "ResourceName",
    "WebServiceResource",
    "shared_lake",
]

ResourceName = Literal["lake", "event_feed", "web_service", "progress", "slack", "heartbeat"]


class LakeResource(dg.ConfigurableResource[Any]):
    """The lake that assets read and write."""

    uri: str = Field(description="Root of the lake: a folder or an s3:// address.")
    umask: str | None = Field(default=None, description="Umask, in octal digits, while a step writes a local lake.")

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:  # noqa: ARG002  Dagster's signature
        """Have the files of a local lake get their modes while the resource is in use."""
        with closed_modes(self.get(), self.umask):
            yield self

    def get(self) -> Lake:
        """A client of the lake, the same for all steps of a process: each goes on with the handles of the one before."""
        return shared_lake(self.uri)


@lru_cache(maxsize=8)
def shared_lake(uri: str) -> Lake:
    """The client of a lake that a process uses for all of its runs: what it knows of tables serves the next one."""
    return Lake(uri)


class EventFeedResource(dg.ConfigurableResource[Any]):
    """The SQS queue that MessageGears sends its event feed to.

    The fields are named as those of ``dagster_aws``, whose own base class costs each process another second of CPU: it imports Dagster's tools for tests.
    """

    queue_url: str | None = Field(default=None, description="Address of the queue.")
    region_name: str | None = Field(default=None, description="Region of the queue, if its address does not say it.")
    profile_name: str | None = Field(default=None, description="Profile of ~/.aws/config, for a queue of another account.")
    endpoint_url: str | None = Field(default=None, description="Address of SQS where it is not that of AWS.")
    verify: bool | None = Field(default=True, description="Whether certificates are verified.")
    aws_access_key_id: str | None = Field(default=None, description="Access key, where it is not found as boto3 finds it.")
    aws_secret_access_key: str | None = Field(default=None, description="Secret of the access key.")
    aws_session_token: str | None = Field(default=None, description="Token of the access key, if it is a temporary one.")

    def get(self, settings: Settings) -> EventQueue:
        """A client of the queue. Makes no call.

        Raises:
            ConfigurationError: no queue is set, or the AWS settings are invalid.
        """
        return open_queue(
            settings.model_copy(update={"queue_url": self.queue_url}),
            region_name=self.region_name,
            endpoint_url=self.endpoint_url,
            profile_name=self.profile_name,
            access_key_id=self.aws_access_key_id,
            secret_access_key=self.aws_secret_access_key,
            session_token=self.aws_session_token,
            verify=self.verify,
        )


class WebServiceResource(dg.ConfigurableResource[Any]):
    """MessageGears' web service. Its key comes from the settings and is in no run's config."""

    url: str = Field(description="Address of the web service.")

    def get(self, settings: Settings) -> WebService:
        """A client of the account in the settings. Makes no call.

        Raises:
            ConfigurationError: account or key is not set.
        """
        return open_web_service(settings.model_copy(update={"api_url": self.url}))


class ProgressResource(dg.ConfigurableResource[Any]):
    """Reports the progress of long work to the run's log and to the listeners in this process."""

    def report(self, log: dg.DagsterLogManager, step: Step) -> None:
        """Report a stage's progress, in numbers only."""
        log.info(str(step))
        report_step(step)


class HeartbeatResource(dg.ConfigurableResource[Any]):
    """The heartbeat of a run while one of its processes works: all our ops and checks require it, whatever started the run."""

    every: float = Field(default=5.0, description="Seconds between two beats.")

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:
        """Beat while the resource is in use. A sensor's context has no run."""
        if context.instance is None or context.run is None:
            yield self
            return
        with keep_beating(context.instance, context.run.run_id, self.every):
            yield self


class _Context(Protocol):
    """The context of an op, a check or a sensor."""

    @property
    def resources(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class FeedResources:
    """A feed's resources in the context of an op, a check or a sensor."""

    names: Names

    def keys(self, *resources: ResourceName) -> set[str]:
        """Return the required resource keys, as Dagster names them."""
        return {self.names.qualified(resource) for resource in resources}

    def keys_of_op(self, *resources: ResourceName) -> set[str]:
        """Return the required resource keys of an op or a check, whose run has a heartbeat."""
        return self.keys(*resources, "heartbeat")

    def lake(self, context: _Context) -> Lake:
        """A client of the lake."""
        resource: LakeResource = self._resource(context, "lake")
        return resource.get()

    def queue(self, context: _Context, settings: Settings) -> EventQueue:
        """A client of the queue.

        Raises:
            ConfigurationError: no queue is set, or the AWS settings are invalid.
        """
        resource: EventFeedResource = self._resource(context, "event_feed")
        return resource.get(settings)

    def web_service(self, context: _Context, settings: Settings) -> WebService:
        """A client of MessageGears' web service.

        Raises:
            ConfigurationError: account or key is not set.
        """
        resource: WebServiceResource = self._resource(context, "web_service")
        return resource.get(settings)

    def progress(self, context: _Context) -> ProgressResource:
        """The resource that reports progress."""
        resource: ProgressResource = self._resource(context, "progress")
        return resource

    def slack(self, context: _Context) -> Any:
        """The resource of ``dagster-slack``."""
        return self._resource(context, "slack")

    def _resource(self, context: _Context, name: ResourceName) -> Any:
        return getattr(context.resources, self.names.qualified(name))
