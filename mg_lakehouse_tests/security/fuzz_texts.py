"""A coverage-guided fuzzer of texts at the sinks: ``python -m mg_lakehouse_tests.security.fuzz_texts -runs=N CORPUS``.

libFuzzer's options are passed on. What it finds stays in the working folder as ``crash-*``, to become a line of the hostile corpus.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mg_lakehouse._util.escaping"]):
    from mg_lakehouse_tests.util.escaping_laws import check

from mg_lakehouse_tests.util.hostile import HARMLESS_CELLS, HOSTILE


def one(data: bytes) -> None:
    """A text as a file's name or an event could have it: bytes that are no UTF-8 are lone surrogates."""
    check(data.decode("utf-8", "surrogateescape"))


def main() -> None:
    """Begin with the hostile corpus, and fuzz."""
    corpus = Path(sys.argv[-1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate((*HOSTILE, *HARMLESS_CELLS)):
        (corpus / f"{number:03d}").write_bytes(text.encode("utf-8", "surrogateescape"))
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
