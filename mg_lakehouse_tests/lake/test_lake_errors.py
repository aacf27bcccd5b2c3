"""What a store says, in its own words, and what becomes of it: permanent where only a person can help, with the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError

from mg_lakehouse.errors import PermanentError, TransientError
from mg_lakehouse.lake.errors import store_error, store_errors
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.tables import silver_spec
from mg_lakehouse_tests.lake.feeds import fill

# As deltalake 1.6 writes them: the reason stands some lines below the first.
_S3 = """Kernel error -> Generic S3 error
          ↳ Error performing list request
           ↳ Error performing GET http://127.0.0.1:8333/lake?list-type=2 in 1.318797ms - Server returned non-2xx status code
            ↳ {status}
             ↳ <Error><Code>{code}</Code><RequestId>4F403B</RequestId></Error>"""


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        ("404 Not Found", "NoSuchBucket", "its bucket does not exist. Create it or correct MG_LAKE_URI."),
        ("403 Forbidden", "AccessDenied", "access was refused. Check MG_LAKE_URI and the rights or AWS credentials behind it."),
        ("400 Bad Request", "ExpiredToken", "access was refused. Check MG_LAKE_URI and the rights or AWS credentials behind it."),
    ],
)
def test_what_only_a_person_can_mend_is_permanent(status: str, code: str, remedy: str) -> None:
    found = store_error(OSError(_S3.format(status=status, code=code)), "The table")
    assert isinstance(found, PermanentError)
    assert str(found).endswith(remedy)


def test_what_may_pass_is_transient_whatever_numbers_are_in_it() -> None:
    """A request id or a time with 403 in it was once taken for a refusal."""
    found = store_error(OSError(_S3.format(status="500 Internal Server Error", code="InternalError")), "The table")
    assert isinstance(found, TransientError)
    assert str(found) == "The table could not be reached or written (OSError: Kernel error -> Generic S3 error)."
    assert isinstance(store_error(DeltaError("part-00403-c000.parquet: the answer took 1.403 s"), "The table"), TransientError)


@pytest.mark.parametrize(
    "said",
    [
        "Kernel error: Json error: Truncated record whilst reading string",
        "Invalid JSON in file stats: unknown variant `hello`, expected one of `metaData`, `protocol`",
        "parquet: File out of specification: The file must end with PAR1 or PARE",
        "Kernel error: Generic delta kernel error: Expected contiguous commit files, but found gap: ParsedLogPath",
    ],
)
@pytest.mark.parametrize(
    ("table", "remedy"), [("bronze/event_feed", "`mg-lakehouse repair bronze`"), ("silver/clicks", "`mg-lakehouse backfill --table clicks")]
)
def test_a_file_that_is_damaged_is_never_transient(said: str, table: str, remedy: str) -> None:
    """What no look at sizes finds, and what is damaged on S3: trying again reads the same bytes."""
    found = store_error(DeltaError(said), f"{table} in the lake s3://lake")
    assert isinstance(found, PermanentError)
    assert str(found).startswith(f"{table} in the lake s3://lake has a damaged file ({said}")
    assert remedy in str(found)


def test_a_stream_that_breaks_off_is_sorted_and_a_mistake_of_ours_is_not() -> None:
    with pytest.raises(TransientError, match=r"^The table could not be reached"), store_errors("The table"):
        raise Exception("C Data interface error: External error")  # noqa: TRY002  what a change feed raises
    with pytest.raises(KeyError), store_errors("The table"):
        raise KeyError("column")


_FEATURES = [
    (
        "deletionVectors",
        {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]},
    ),
    ("columnMapping", {"minReaderVersion": 2, "minWriterVersion": 5}),
    ("a feature of Delta Lake", {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["later"], "writerFeatures": ["later"]}),
    ("a feature of Delta Lake", {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["later"]}),
    ("a feature of Delta Lake", {"minReaderVersion": 9, "minWriterVersion": 9}),
]


@pytest.mark.parametrize(("named", "protocol"), _FEATURES)
def test_a_table_with_a_feature_that_changes_its_files_is_refused(tmp_path: Path, named: str, protocol: dict[str, object]) -> None:
    """Files are read as they are: past deletion vectors, rows that another program deleted would be back."""
    lake = Lake(str(tmp_path))
    fill(lake, 1)
    version = lake.ensure(silver_spec("opens")).version() + 1
    log = tmp_path / "silver" / "opens" / "_delta_log" / f"{version:020}.json"
    log.write_text(json.dumps({"commitInfo": {"timestamp": 1}}) + "\n" + json.dumps({"protocol": protocol}) + "\n")
    with pytest.raises(PermanentError, match=named):
        fill(lake, 1, first=1)


def test_other_columns_than_expected_are_no_store_that_does_not_answer(tmp_path: Path) -> None:
    handle = Lake(str(tmp_path)).ensure(silver_spec("opens"))
    with pytest.raises(PermanentError, match="has other columns"), store_errors("The table"):
        write_deltalake(handle, pl.DataFrame({"activity_id": ["a"]}).to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append")
