"""Old import path, kept for compatibility: import the resources from ``mg_lakehouse``."""

from mg_lakehouse.dagster.resources import EventFeedResource, HeartbeatResource, LakeResource, ProgressResource, WebServiceResource

__all__ = ["EventFeedResource", "HeartbeatResource", "LakeResource", "ProgressResource", "WebServiceResource"]
