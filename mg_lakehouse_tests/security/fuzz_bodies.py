"""A coverage-guided fuzzer of the flattening: ``python -m mg_lakehouse_tests.security.fuzz_bodies -runs=N CORPUS``.

libFuzzer's options are passed on. What it finds stays in the working folder as ``crash-*``, to become a test.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["mg_lakehouse.events"]):
    from mg_lakehouse_tests.security.laws import check

from mg_lakehouse.events.catalogue import EVENTS
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.events.written import written_body

_WRITTEN: Final = 100
"""Bodies with every construct of XML that the fuzzer begins with."""


def one(data: bytes) -> None:
    """A body as SQS could hand it out: any text, lone surrogates included."""
    check(data.decode("utf-8", "surrogatepass") if _is_text(data) else data.decode("latin-1"))


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _words() -> list[str]:
    """What bytes seldom make by chance: markup, and the names of the feed."""
    markup = [
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<!DOCTYPE x [",
        "<!ENTITY a SYSTEM 'file:///etc/passwd'>",
        "&a;",
        "&#0;",
        "&#x10ffff;",
        "<?xml ?>",
        "<?p ?>",
        "/>",
        "&#65;",
        "&#x41;",
        "&amp;",
        " a='1'",
        " xsi:type='x'",
        " xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'",
        " xmlns='http://a/b'",
    ]
    envelopes = ["<ActivityItems>", "</ActivityItems>", "<m:ActivityItems xmlns:m='u'>", "<AccountActivityResponse>", "<ActivityItems/>"]
    items = [f"<{tag}{name}>" for event in EVENTS for name in event.elements for tag in ("", "/")]
    names = ["Timestamp", "ActivityId", "RequestId", "New", "RenderErrors", "RenderError", "JobError", "ErrorCode", "ErrorMessage"]
    children = [f"<{tag}{name}>" for name in names for tag in ("", "/")]
    carriers = [
        '{"Type":"Notification","Message":"',
        '{"detail-type":"x","detail":',
        '{"Records":[',
        '{"messageId":"1","body":"',
        "S3Pointer",
        "activityType,activityId,timestamp,emailAddress\n",
        "Open,a,2026-02-28 10:00:00+0000,b@c.example\n",
        "\\u00e9",
        '"}',
        "]}",
    ]
    return [
        word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\x0a")
        for word in (*markup, *envelopes, *carriers, *items, *children)
    ]


def main() -> None:
    """Begin with the samples and with bodies of every construct, and fuzz."""
    corpus = Path(sys.argv[-1])
    corpus.mkdir(parents=True, exist_ok=True)
    for name, body in samples().items():
        (corpus / str(name)).write_text(body)
        (corpus / f"{name}.json").write_text(json.dumps({"Type": "Notification", "Message": body}))
        (corpus / f"{name}.gz").write_text(base64.b64encode(gzip.compress(body.encode())).decode())
    for seed in range(_WRITTEN):
        (corpus / f"written-{seed}").write_bytes(written_body(seed).encode())
    words = corpus.with_name(f"{corpus.name}.dict")
    words.write_text("".join(f'"{word}"\n' for word in _words()))
    atheris.Setup([sys.argv[0], f"-dict={words}", *sys.argv[1:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
