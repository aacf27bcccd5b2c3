"""Classifies what stores and delta-rs raise into permanent and transient errors.

Belongs here: the phrases that identify an error, and its text with the remedy. Damaged files belong to :mod:`mg_lakehouse.lake.damage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
from deltalake.exceptions import DeltaError

from mg_lakehouse.errors import LakehouseError, PermanentError, TransientError
from mg_lakehouse.lake.damage import remedy

__all__ = ["FEATURE_REMEDY", "is_full_disk", "store_error", "store_errors"]

FEATURE_REMEDY: Final = "a newer release or another program turned it on. Upgrade mg-lakehouse, or recreate the table without it as that program's manual describes."

_FULL: Final = ("no space left", "disk quota exceeded", "file too large", "max_temp_directory_size")
"""How a full disk is told; by the last one DuckDB, which keeps a tenth of the disk free."""

_PERMANENT: Final = (
    (
        (
            "permission denied",
            "read-only file system",
            "not a directory",
            "could not create local directory",
            "lacked the necessary privileges",
            "403 forbidden",
            "accessdenied",
            "expiredtoken",
            "invalidaccesskeyid",
            "signaturedoesnotmatch",
        ),
        "cannot be written or read: access was refused. Check MG_LAKE_URI and the rights or AWS credentials behind it.",
    ),
    (
        ("invalid peer certificate", "certificate verify failed", "peer certificate or ssh remote key was not ok"),
        "cannot be reached: the store's certificate is not trusted. Set AWS_CA_BUNDLE to the file of the certificates that your network uses.",
    ),
    (
        ("incorrectly configured region", "permanentredirect", "authorizationheadermalformed"),
        "cannot be reached: its bucket is in another region. Set AWS_REGION to the one that `aws s3api get-bucket-location --bucket` tells.",
    ),
    (("nosuchbucket", "bucket does not exist"), "cannot be reached: its bucket does not exist. Create it or correct MG_LAKE_URI."),
    (_FULL, "cannot be written: the disk is full, or a limit on its files is reached. Free some space."),
    (
        ("invalid table version",),
        (
            "are no longer in its Delta log, so what they added cannot be read: restore the entries from a backup. "
            "`mg-lakehouse maintain` removes none that a reader needs."
        ),
    ),
    (
        ("schemamismatch", "cannot cast schema", "number of fields does not match"),
        "has other columns than this mg-lakehouse writes: another release wrote here meanwhile. Use the newest one that did, everywhere.",
    ),
    (
        ("unsupported table features", "kernel error: unsupported"),
        f"uses a feature of Delta Lake that this mg-lakehouse does not know: {FEATURE_REMEDY}",
    ),
)
"""Phrases, in lower case, of errors that only a person can resolve, and the rest of the error's text."""

_DAMAGED: Final = (
    "out of specification",
    "json error",
    "invalid json in",
    "found gap",
    "invalid checkpoint",
    "parquet magic bytes",
    "parquet input source",
)
"""Phrases, in lower case, of libraries about torn or foreign files: a retry reads the same bytes."""


def is_full_disk(error: BaseException) -> bool:
    """Whether an error of Python, delta-rs or DuckDB says that a disk is full or a limit on files is reached."""
    lowered = str(error).lower()
    return any(sign in lowered for sign in _FULL)


def store_error(error: BaseException, what: str) -> LakehouseError:
    """Classify an error of the object store or file system as permanent or transient.

    ``what`` names the operation's object in the text. All lines of the store's message are searched, for delta-rs gives the
    reason of an S3 error some lines below "Generic S3 error". The text repeats only its first line: a Delta error may carry
    a whole schema, an S3 error a signed request.
    """
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    lowered = f"{type(error).__name__}: {error}".lower()
    for signs, sentence in _PERMANENT:
        if any(sign in lowered for sign in signs):
            return PermanentError(f"{what} {sentence}")
    if any(sign in lowered for sign in _DAMAGED):
        layer, _, table = what.partition(" ")[0].partition("/")
        folder = Path(what.rpartition(" in the lake ")[2], layer, table)
        return PermanentError(f"{what} has a damaged file ({text[:300]}): {remedy(layer, table, folder)}.")
    if "error sending request" in lowered or "connection refused" in lowered or "dns error" in lowered:
        return TransientError(f"{what} cannot be reached: its store does not answer. Check the network and AWS_ENDPOINT_URL_S3.")
    return TransientError(f"{what} could not be reached or written ({type(error).__name__}: {text[:300]}).")


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Classify what delta-rs, its Arrow streams and Polars raise within the block; ``what`` is as for :func:`store_error`.

    A change feed raises a bare ``Exception`` for any failure. Other errors are bugs of ours and pass unchanged.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DeltaError | OSError | pl.exceptions.PolarsError | pa.ArrowException) or type(error) is Exception:
            raise store_error(error, what) from error
        raise
