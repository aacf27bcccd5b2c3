"""What stores and delta-rs raise, classified once into permanent and transient.

Belongs here: the signs by which an error is known, and the sentence with its remedy. Damage of files is :mod:`mg_lakehouse.lake.damage`.
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

__all__ = ["FEATURE_REMEDY", "store_error", "store_errors"]

FEATURE_REMEDY: Final = "a newer release or another program turned it on. Upgrade mg-lakehouse, or make the table anew without it as that program's manual has it."

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
    (("nosuchbucket", "bucket does not exist"), "cannot be reached: its bucket does not exist. Create it or correct MG_LAKE_URI."),
    (
        ("no space left", "disk quota exceeded", "file too large"),
        "cannot be written: the disk is full, or a limit on its files is reached. Free some space.",
    ),
    (
        ("invalid table version",),
        (
            "are no longer in its Delta log, so what they added cannot be told: restore the entries from a backup. "
            "`mg-lakehouse maintain` removes none that a reader lacks."
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
"""What stores and delta-rs say where only a person can help, in lower case, and how the sentence goes on."""

_DAMAGED: Final = (
    "out of specification",
    "json error",
    "invalid json in",
    "found gap",
    "invalid checkpoint",
    "parquet magic bytes",
    "parquet input source",
)
"""What libraries say of files that are torn or foreign, in lower case: trying again reads the same bytes."""


def store_error(error: BaseException, what: str) -> LakehouseError:
    """Sort an error of the object store or file system into permanent or transient.

    ``what`` names the thing that was tried, for the sentence. What the store said is looked at as a whole, for delta-rs gives the
    reason of an S3 error some lines below "Generic S3 error"; of it the sentence has the first line only: a Delta error may carry
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
        return PermanentError(f"{what} has a file that is damaged ({text[:300]}): {remedy(layer, table, folder)}.")
    if "error sending request" in lowered or "connection refused" in lowered or "dns error" in lowered:
        return TransientError(f"{what} cannot be reached: its store does not answer. Check the network and AWS_ENDPOINT_URL_S3.")
    return TransientError(f"{what} could not be reached or written ({type(error).__name__}: {text[:300]}).")


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Sort what delta-rs, its Arrow streams and Polars raise within the block; ``what`` is as for :func:`store_error`.

    A stream of changes raises a bare ``Exception`` whatever it met. Anything else is a mistake of ours and stays as it is.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DeltaError | OSError | pl.exceptions.PolarsError | pa.ArrowException) or type(error) is Exception:
            raise store_error(error, what) from error
        raise
