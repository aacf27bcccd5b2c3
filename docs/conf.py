"""The documentation as a site, of the same Markdown that reads well in the repository: `make site`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = "https://github.com/mg-lakehouse/mg-lakehouse"

project = "mg_lakehouse"
extensions = ["myst_parser"]
root_doc = "index"
exclude_patterns = ["images"]
html_theme = "furo"
html_title = "mg_lakehouse"
html_copy_source = False
html_show_sphinx = False
# Anchors as GitHub makes them, so that a link leads there in both places.
myst_heading_anchors = 3
myst_links_external_new_tab = False
# As typed: `--dry-run` in a sentence keeps its two hyphens.
smartquotes = False
nitpicky = True
# A console block is what was typed and not what a lexer knows; a picture of pipes in words has no language at all.
suppress_warnings = ["misc.highlighting_failure"]

_OUTSIDE: Final = re.compile(r"\]\((\.\./[^)#\s]+)((?:#[^)\s]*)?)\)")


def _to_the_repository(_app: Any, page: str, source: list[str]) -> None:
    """Have each link out of this folder lead to the file in the repository.

    A link between two pages stays as it is, and so does a link to no file: the build fails at it.
    """
    here = Path(__file__).resolve().parent

    def linked(match: re.Match[str]) -> str:
        target = (here / page).parent.joinpath(match[1]).resolve()
        if not target.exists() or here in target.parents or here.parent not in target.parents:
            return match[0]
        kind = "tree" if target.is_dir() else "blob"
        return f"]({REPOSITORY}/{kind}/main/{target.relative_to(here.parent).as_posix()}{match[2]})"

    source[0] = _OUTSIDE.sub(linked, source[0])


def setup(app: Any) -> None:
    """Register with Sphinx."""
    app.connect("source-read", _to_the_repository)
