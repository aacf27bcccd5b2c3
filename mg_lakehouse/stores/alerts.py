"""The thresholds of alerts by the path that projects import them from since before ``mg_lakehouse`` itself had them."""

from mg_lakehouse.serving.alerts import Thresholds

__all__ = ["Thresholds"]
