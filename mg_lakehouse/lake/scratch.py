"""Folders for what this process writes to temporary files: with our error where there is no room for one. Imports nothing large."""

from __future__ import annotations

from mg_lakehouse._util.temp_folders import OwnFolder, Purpose, temp_folder
from mg_lakehouse.errors import PermanentError

__all__ = ["scratch_folder"]


def scratch_folder(purpose: Purpose) -> OwnFolder:
    """Make a folder of this process for temporary files. Those that dead processes left, for any purpose, are removed first.

    Raises:
        PermanentError: it cannot be created.
    """
    try:
        return temp_folder(purpose)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise PermanentError(f"No temporary folder can be created ({why}): set TMPDIR to a writable folder with free space.") from error
