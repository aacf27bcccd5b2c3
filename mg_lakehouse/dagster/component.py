"""The component ``mg_lakehouse.FeedComponent``: a feed as one YAML file in a Dagster project.

Its attributes are the settings, under the same names, the queue's AWS account and the alert thresholds. All come from the file, and from the
environment only what the file names, such as ``{{ env.TRANSACTIONAL_QUEUE_URL }}``. If another feed's settings in the environment applied,
two feeds would drain one queue into two lakes, and each would have half of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Any, Final, Self, Union, get_args, get_origin, get_type_hints

import dagster as dg
from dagster.components.component_scaffolding import scaffold_component
from pydantic import BaseModel, Field, SecretStr, create_model

from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.reporting import OWNERS
from mg_lakehouse.dagster.resources import EventFeedResource
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.serving.alerts import Thresholds
from mg_lakehouse.settings import Settings, check_settings

__all__ = ["FeedComponent"]

_IN_YAML: Final[dict[Any, Any]] = {
    str: str,
    SecretStr: str,
    Path: str,
    bool: bool | str,
    date: date | str,
    int: int | str,
    float: float | str,
}
"""A setting's type in YAML. Each value may be a template, which is text."""


class AwsAccount(dg.Model):
    """How to reach the queue's AWS account, if not as the environment says."""

    region_name: str | None = Field(default=None, description="Region of the queue.")
    profile_name: str | None = Field(default=None, description="Profile of ~/.aws/config, for a queue of another account.")
    endpoint_url: str | None = Field(default=None, description="Address of SQS, if not Amazon's own.")


def _in_yaml(annotation: Any) -> Any:
    if get_origin(annotation) is tuple:
        return list[str] | str
    if get_origin(annotation) in {Union, UnionType}:
        (annotation,) = (arg for arg in get_args(annotation) if arg is not type(None))
    return _IN_YAML[annotation]


_THRESHOLDS: Final[type[BaseModel]] = create_model(
    "ThresholdsModel",
    __base__=dg.Model,
    **{threshold.name: (float | str, Field(default=threshold.default)) for threshold in fields(Thresholds)},  # type: ignore[call-overload]
)

_ATTRIBUTES: Final[type[BaseModel]] = create_model(
    "FeedComponentModel",
    __base__=dg.Model,
    **{
        name: (_in_yaml(info.annotation) | None, Field(default=None, description=info.description))
        for name, info in Settings.model_fields.items()
        if name != "lake_uri"
    },  # type: ignore[call-overload]
    # Required: two feeds that leave it out would share the default.
    lake_uri=(str, Field(description=Settings.model_fields["lake_uri"].description)),
    aws=(AwsAccount | None, Field(default=None, description=AwsAccount.__doc__)),
    thresholds=(_THRESHOLDS | None, Field(default=None, description="When mail is worth an alert; rates are shares of 1.")),
)


class FeedScaffolder(dg.Scaffolder[Any]):
    """Scaffolds ``dg scaffold defs mg_lakehouse.FeedComponent NAME``: a feed of that name, with its addresses from the environment."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the component's file."""
        feed = re.sub(r"[^a-z0-9_]", "_", request.target_path.name.lower()).strip("_") or "feed"
        scaffold_component(
            request,
            {
                "feed": feed,
                "queue_url": f"{{{{ env.{feed.upper()}_QUEUE_URL }}}}",
                "lake_uri": f"{{{{ env('{feed.upper()}_LAKE_URI', '.lake/{feed}') }}}}",
            },
        )


@dg.scaffold_with(FeedScaffolder)
@dataclass(frozen=True)
class FeedComponent(dg.Component):
    """A MessageGears event feed: its queue drained into a Delta lake of its own, from bronze to gold."""

    settings: Settings
    aws: AwsAccount = field(default_factory=AwsAccount)
    thresholds: Thresholds = field(default_factory=Thresholds)

    @classmethod
    def get_model_cls(cls) -> type[BaseModel] | None:
        """Return the attributes that the YAML may set."""
        return _ATTRIBUTES

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return the owners and tags for the component's page."""
        return dg.ComponentTypeSpec(owners=list(OWNERS), tags=["messagegears", "sqs", "deltalake"])

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """Load the component from a YAML file and fill in its templates. An empty template means the default.

        Raises:
            ConfigurationError: an attribute is invalid; the text names it and its valid values.
        """
        given = {} if attributes is None else attributes.model_dump(exclude_unset=True)
        values = _filled(context.resolution_context.at_path("attributes").resolve_value(given))
        if "lake_uri" not in values:
            raise ConfigurationError("lake_uri is not set: give the feed its own lake, a folder or an s3:// address.")
        aws = AwsAccount(**_filled(values.pop("aws", {})))
        thresholds = _filled(values.pop("thresholds", {}))
        return cls(check_settings(values), aws, _thresholds(thresholds))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002  nothing depends on the file's place
        """Build all definitions of the feed."""
        queue = EventFeedResource(queue_url=self.settings.queue_url, **self.aws.model_dump())
        return build_definitions(self.settings, resources={"event_feed": queue}, thresholds=self.thresholds)


def _filled(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (values or {}).items() if value not in (None, "")}


def _thresholds(values: Mapping[str, Any]) -> Thresholds:
    """Convert thresholds to numbers: a template yields text."""
    kinds = get_type_hints(Thresholds)
    try:
        return Thresholds(**{name: kinds[name](value) for name, value in values.items()})
    except ValueError as error:
        raise ConfigurationError(f"thresholds: {error}.") from None
