"""Peer (c): Spark's own XML functions, in an environment of its own; Java must be there.

``from_xml`` with a schema over the column of bodies, an array for each kind of event, exploded and typed, an append for each. Written
as Parquet, for Delta's jars are in no package index that pip reads; that spares Spark the commits. The schema is given, not
inferred. Started as ``spark_xml.py <parameters> <answer>``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

_COMMON = (
    "AccountId", "ActivityId", "CampaignId", "CampaignVersion", "CorrelationId", "JobCategory", "RecipientId", "RequestId", "Timestamp",
)  # fmt: skip
_TYPES = {"Timestamp": "timestamp", "MessageSize": "bigint", "CategoryCode": "bigint", "Microsite": "boolean", "RecordSize": "bigint"}


def schema(kinds: Mapping[str, list[str]]) -> str:
    """The schema of a bundle in Spark's DDL: an array of structures for each kind of event."""
    arrays = []
    for kind, children in kinds.items():
        names = dict.fromkeys((*_COMMON, *children))
        arrays.append(f"`{kind}` array<struct<{', '.join(f'`{name}`: string' for name in names)}>>")
    return ", ".join(arrays)


def flatten(spark: SparkSession, bronze: list[str], target: Path, kinds: Mapping[str, list[str]]) -> None:
    """Read bronze's files, parse each body once, and write the rows of each kind."""
    messages = spark.read.parquet(*bronze).select("message_id", "body", "received_at").repartition(spark.sparkContext.defaultParallelism)
    # One way of writing names: Spark matches them as written.
    plain = f.regexp_replace("body", "(</?)mg:", "$1")
    parsed = messages.select(
        "message_id", "received_at", f.from_xml(plain, schema(kinds), {"rowTag": "ActivityItems"}).alias("bundle")
    ).cache()
    found = parsed.agg(*(f.max(f.size(f"bundle.{kind}")).alias(kind) for kind in kinds)).first()
    for kind, children in kinds.items():
        if found is None or (found[kind] or 0) < 1:
            continue
        _rows(parsed, kind, children).write.mode("append").partitionBy("received_date").parquet(str(target / kind))
    parsed.unpersist()


def count(spark: SparkSession, target: Path) -> int:
    """Rows of all kinds that have some."""
    return sum(spark.read.parquet(str(kind)).count() for kind in target.iterdir() if any(kind.rglob("*.parquet")))


def _rows(parsed: DataFrame, kind: str, children: list[str]) -> DataFrame:
    items = parsed.select("message_id", "received_at", f.posexplode(f.col(f"bundle.{kind}")).alias("item_index", "item"))
    names = dict.fromkeys((*_COMMON, *children))
    typed = [f.col(f"item.{name}").try_cast(_TYPES.get(name, "string")).alias(name) for name in names]
    return items.select(*typed, "message_id", "item_index", "received_at", f.to_date("received_at").alias("received_date"))


def main(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Start Spark, pass over everything once to warm the JVM, then time it."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    lake = Path(parameters["lake"])
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "4g")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    bronze = [str(file) for file in (lake / "bronze" / "event_feed").rglob("*.parquet") if "_delta_log" not in file.parts]
    flatten(spark, bronze, lake / "warm", parameters["kinds"])
    began = time.perf_counter()
    flatten(spark, bronze, lake / "peer", parameters["kinds"])
    seconds = time.perf_counter() - began
    rows = count(spark, lake / "peer")
    spark.stop()
    if rows != parameters["events"]:
        raise SystemExit(f"Spark made {rows} rows of {parameters['events']} events.")
    return {"seconds": seconds, "events": rows}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
