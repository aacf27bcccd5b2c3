"""What the builds and sessions of gold do without in this process, for each makes a DuckDB of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mg_lakehouse.lake import duck
from mg_lakehouse_tests.gold import test_duck


@pytest.fixture(scope="module", autouse=True)
def _signatures_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Extensions are loaded without a look at their signature, which of the 82 MB of `delta` takes 0.3 s of a core each time.

    That they are signed shows `test_duck`, and every build in a process of its own.
    """
    options = duck.connection_options
    with pytest.MonkeyPatch.context() as patch:
        if request.module is not test_duck:
            patch.setattr(duck, "connection_options", lambda *given: {**options(*given), "allow_unsigned_extensions": "true"})
        yield
