"""Peer (c): Spark's own XML functions, in an environment of its own; Java must be there.

``from_xml`` with a given schema over the column of bodies, an array for each kind of event; all of them exploded together, typed, and
written in one pass, partitioned by kind: with a pass for each kind Spark took three times as long on this amount of data. Written as Parquet,
for Delta's jars are in no package index that pip reads; that spares Spark the commits. Started as ``spark_xml.py <parameters> <answer>``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as f

_COMMON = (
    "AccountId", "ActivityId", "CampaignId", "CampaignVersion", "CorrelationId", "JobCategory", "RecipientId", "RequestId", "Timestamp",
)  # fmt: skip
_TYPES = {"Timestamp": "timestamp", "MessageSize": "bigint", "CategoryCode": "bigint", "Microsite": "boolean", "RecordSize": "bigint"}


def columns(kinds: Mapping[str, list[str]]) -> list[str]:
    """Children of all kinds together."""
    return sorted({*_COMMON, *(child for children in kinds.values() for child in children)})


def flatten(spark: SparkSession, bronze: list[str], target: Path, kinds: Mapping[str, list[str]]) -> None:
    """Read bronze's files, parse each body once, and write the rows of all kinds."""
    names = columns(kinds)
    item = f"array<struct<{', '.join(f'`{name}`: string' for name in names)}>>"
    messages = spark.read.parquet(*bronze).select("message_id", "body", "received_at").repartition(spark.sparkContext.defaultParallelism)
    # One way of writing names: Spark matches them as written.
    plain = f.regexp_replace("body", "(</?)mg:", "$1")
    bundle = f.from_xml(plain, ", ".join(f"`{kind}` {item}" for kind in kinds), {"rowTag": "ActivityItems"})
    parsed = messages.select("message_id", "received_at", bundle.alias("bundle"))
    items = parsed.select("message_id", "received_at", f.posexplode(_together(kinds)).alias("item_index", "of"))
    typed = [f.col(f"of.item.{name}").try_cast(_TYPES.get(name, "string")).alias(name) for name in names]
    rows = items.select(*typed, "message_id", "item_index", "received_at", "of.kind", f.to_date("received_at").alias("received_date"))
    rows.write.mode("append").partitionBy("kind", "received_date").parquet(str(target))


def _together(kinds: Mapping[str, list[str]]) -> Column:
    """All items of a bundle in one array, each with its kind."""

    def named(kind: str) -> Column:
        found = f.coalesce(f.col(f"bundle.{kind}"), f.array())
        return f.transform(found, lambda item: f.struct(f.lit(kind).alias("kind"), item.alias("item")))

    return f.concat(*(named(kind) for kind in kinds))


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
    rows = spark.read.parquet(str(lake / "peer")).count()
    spark.stop()
    if rows != parameters["events"]:
        raise SystemExit(f"Spark made {rows} rows of {parameters['events']} events.")
    return {"seconds": seconds, "events": rows}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
