"""The resources by the path that projects import them from since before ``mg_lakehouse`` itself had them."""

from mg_lakehouse.dagster.resources import EventFeedResource, HeartbeatResource, LakeResource, ProgressResource, WebServiceResource

__all__ = ["EventFeedResource", "HeartbeatResource", "LakeResource", "ProgressResource", "WebServiceResource"]
