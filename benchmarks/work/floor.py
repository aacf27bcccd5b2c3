"""The limits: what the parsers alone do on the bytes, and what encoding alone does on the rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import polars as pl
import yaml
from lxml import etree
from xml2arrow import XmlToArrowParser

from benchmarks.data.bronze import messages
from benchmarks.peers import lxml_loop
from benchmarks.work.timing import timed
from mg_lakehouse.events.catalogue import COMMON_COLUMNS, EVENTS

__all__ = ["encode", "parse_lxml", "parse_xml2arrow"]

_ROOT: Final = "Batch"
_ROW: Final = "Row"
_BODIES_TO_A_DOCUMENT: Final = 2_000


def parse_lxml(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parser of lxml on each body, on one thread: it holds the interpreter's lock for bodies this small."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)

    def parse(bodies: list[bytes]) -> int:
        return sum(len(etree.fromstring(body, parser)) for body in bodies)

    return _time(parameters, parse)


def parse_xml2arrow(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """xml2arrow to Arrow text columns, bodies joined into documents of 2,000, on ``threads`` threads."""
    with TemporaryDirectory(prefix="mg-bench-") as folder:
        config = Path(folder, "tables.yaml")
        config.write_text(yaml.safe_dump(_config()))
        parser = XmlToArrowParser(str(config))

    def parse(document: bytes) -> int:
        return sum(batch.num_rows for batch in parser.parse(document).values())

    def parse_all(bodies: list[bytes]) -> int:
        starts = range(0, len(bodies), _BODIES_TO_A_DOCUMENT)
        documents = (b"<Batch>%b</Batch>" % b"".join(bodies[start : start + _BODIES_TO_A_DOCUMENT]) for start in starts)
        with ThreadPoolExecutor(parameters["threads"]) as pool:
            return sum(pool.map(parse, documents))

    return _time(parameters, parse_all, _prepared)


def encode(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parquet with zstd of all rows, a file a table, in memory."""
    tables = lxml_loop.flatten(messages(pl.read_parquet(parameters["feed"])), source="event_feed")
    with timed() as took:
        sizes = [_encoded(rows) for rows in tables.values()]
    events = sum(rows.height for rows in tables.values())
    return {"seconds": took.seconds, "cpu_seconds": took.cpu_seconds, "events": events, "file_bytes": sum(sizes)}


def _encoded(rows: pl.DataFrame) -> int:
    file = io.BytesIO()
    rows.write_parquet(file, compression="zstd", compression_level=1)
    return file.tell()


def _config() -> dict[str, Any]:
    """A table for each element. The parser takes every child of a path for a row, so that the rows stand in an element of their own."""
    tables = []
    for event in EVENTS:
        names = {name.partition("/")[0] for column in (*COMMON_COLUMNS, *event.columns) for name in column.elements}
        for element in event.elements:
            path = f"/{_ROOT}/ActivityItems/{element}"
            fields = [{"name": name, "xml_path": f"{path}/{_ROW}/{name}", "data_type": "Utf8", "nullable": True} for name in sorted(names)]
            tables.append({"name": element, "xml_path": path, "levels": [], "fields": fields})
    return {"parser_options": {"trim_text": True}, "tables": tables}


def _prepared(bodies: pl.Series) -> pl.Series:
    """One way of writing names, for the parser matches them as written, and the element around the rows. Not timed."""
    plain = bodies.str.replace_all("(</?)mg:", "${1}")
    opened = plain.str.replace_all(r"<(\w+Activity)>", f"<${{1}}><{_ROW}>")
    return opened.str.replace_all(r"</(\w+Activity)>", f"</{_ROW}></${{1}}>")


def _time(
    parameters: Mapping[str, Any], work: Callable[[list[bytes]], int], prepare: Callable[[pl.Series], pl.Series] = lambda bodies: bodies
) -> Mapping[str, Any]:
    feed = pl.read_parquet(parameters["feed"])
    bodies = [body.encode() for body in prepare(feed["body"])]
    events = int(feed["items"].sum())
    work(bodies[:100])
    with timed() as took:
        found = work(bodies)
    if found != events:
        raise ValueError(f"The parser found {found} of {events} items: its configuration is wrong.")
    return {"seconds": took.seconds, "cpu_seconds": took.cpu_seconds, "events": events}
