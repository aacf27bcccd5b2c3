"""The 17 sample payloads of MessageGears' event feed document (v3.1), verbatim.

Numbers 12 and 15 are malformed as published, and 17 is documented as a context miss under a hit's name.
"""

from __future__ import annotations

from importlib.resources import files

__all__ = ["MALFORMED", "samples"]

MALFORMED = frozenset({"12_DeliveredSmsActivity.xml", "15_InboundSmsActivity.xml"})
"""Names of the samples that are not well-formed."""


def samples() -> dict[str, str]:
    """Body of each sample by file name, in the document's order."""
    found = [entry for entry in files(__name__).iterdir() if entry.name.endswith(".xml")]
    return {entry.name: entry.read_text(encoding="utf-8") for entry in sorted(found, key=lambda entry: entry.name)}
