"""Peer (b): xmltodict to dlt to a Delta filesystem destination, in an environment of its own.

A resource of dictionaries, one for each event, sent to a table by its kind: what dlt's own guides show for XML. dlt finds the types,
flattens what is nested and appends with delta-rs. Started as ``dlt_xmltodict.py <parameters> <answer>``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "CRITICAL",
    "NORMALIZE__WORKERS": "2",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
}

import dlt
import pyarrow as pa
import xmltodict
from deltalake import DeltaTable

_WARM_UP = 100


def events(messages: pa.Table) -> Iterator[dict[str, Any]]:
    """One dictionary for each event of the bodies."""
    for row in messages.to_pylist():
        bundle = xmltodict.parse(row["body"], process_namespaces=False, strip_whitespace=True)
        ((_, items),) = bundle.items()
        index = 0
        for name, found in items.items():
            if name.startswith("@"):
                continue
            for item in found if isinstance(found, list) else [found]:
                plain = {child.rpartition(":")[2]: value for child, value in item.items()}
                lineage = {"message_id": row["message_id"], "item_index": index, "received_date": row["received_date"]}
                yield {**plain, **lineage, "kind": name.rpartition(":")[2]}
                index += 1


def load(messages: pa.Table, target: Path) -> int:
    """Load all events of the messages; returns the rows that dlt wrote to tables of events."""
    resource = dlt.resource(events, name="events", table_name=lambda event: event["kind"], write_disposition="append", table_format="delta")
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(target / "state"),
        destination=dlt.destinations.filesystem(bucket_url=(target / "tables").as_uri()),
        dataset_name="silver",
    )
    pipeline.run(resource(messages))
    counts: Mapping[str, int] = pipeline.last_trace.last_normalize_info.row_counts
    return sum(count for table, count in counts.items() if not table.startswith("_") and "__" not in table)


def main(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Warm up on a few messages, then time all of them."""
    bronze = DeltaTable(str(Path(parameters["lake"], "bronze", "event_feed")))
    columns = ["message_id", "body", "received_date"]
    with tempfile.TemporaryDirectory(prefix="mg-bench-") as folder:
        load(bronze.to_pyarrow_table(columns=columns).slice(0, _WARM_UP), Path(folder))
    began, cpu = time.perf_counter(), time.process_time()
    loaded = load(bronze.to_pyarrow_table(columns=columns), Path(parameters["lake"], "peer"))
    seconds = time.perf_counter() - began
    if loaded != parameters["events"]:
        raise SystemExit(f"dlt loaded {loaded} of {parameters['events']} events.")
    return {"seconds": seconds, "main_process_cpu_seconds": time.process_time() - cpu, "events": loaded}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
