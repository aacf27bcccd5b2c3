"""Serves the dashboard: marimo replaces this process, and uses no network but its port."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Final

from mg_lakehouse._util.console import TextConsole
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.services import require_free
from mg_lakehouse.settings import Settings

__all__ = ["serve"]

_PAGE: Final = Path(__file__).with_name("page.py")


def serve(settings: Settings, console: TextConsole, *, host: str, port: int) -> None:
    """Serve the page until the process is stopped. Does not return.

    Raises:
        ConfigurationError: the extra ``dashboard`` is not installed, or the port is taken.
    """
    missing = [name for name in ("marimo", "altair") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"The dashboard needs {' and '.join(missing)}: run `pip install 'mg-lakehouse[dashboard]'`.")
    require_free(host, port)
    console.print(
        f"The dashboard of {Lake(settings.lake_uri).root} is on http://{host}:{port}; Ctrl-C ends it.", highlight=False, soft_wrap=True
    )
    options = ["--headless", "--no-token", "--no-sandbox", "--no-show-tracebacks", "--host", host, "--port", str(port)]
    # By default, marimo looks for newer versions of itself and reports where it runs.
    quiet = os.environ | {"MARIMO_SKIP_UPDATE_CHECK": "1"}
    # Replace this process, so that stopping it stops the server.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), 2)  # the command line keeps from it what libraries write
    os.execve(sys.executable, [sys.executable, "-m", "marimo", "-y", "run", *options, str(_PAGE)], quiet)  # noqa: S606  no shell is wanted
