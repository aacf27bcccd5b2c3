"""The engine itself refuses to change a setting, whatever statements are let through to it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from mg_lakehouse.settings import Settings
from mg_lakehouse.stores.ad_hoc import ad_hoc
from mg_lakehouse.stores.lake import Lake


@pytest.mark.parametrize(
    "statement", ["set memory_limit = '1GB'", "set enable_external_access = true", "set lock_configuration = false", "reset threads"]
)
def test_no_setting_can_be_changed_once_the_lake_is_open(tmp_path: Path, statement: str) -> None:
    settings = Settings(lake_uri=str(tmp_path / "lake"))
    with ad_hoc(Lake(settings.lake_uri), settings) as asked, pytest.raises(duckdb.InvalidInputException, match="locked"):
        asked._connection.execute(statement)
