"""Bodies as tags and texts, without Python per event: the first half of the fast reading.

A bundle without comments, CDATA sections and stray angle brackets is an alternation of tags and texts: ``<`` and ``>`` take turns.
Their positions in the bytes of a whole batch are the offsets of an Arrow string array over those same bytes, so cutting a
batch into tags and texts copies nothing. What the tags mean is :mod:`mg_lakehouse.events.plain`'s business.

Everything here is proved on the bytes, never assumed: a body that is not such an alternation, or that has a character that XML
forbids, is left out, for the strict reader to take.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import polars as pl
import pyarrow as pa

from mg_lakehouse.events.reader import WHITE_SPACE

__all__ = ["BLANK", "Tokens", "tokenize", "with_texts_at"]

BLANK: Final = ">" + WHITE_SPACE
"""What is stripped from a text of :class:`Tokens`, which has no ``>`` but the one it begins with."""

_ROOT: Final = "<ActivityItems"

# The namespaces of the feed. Any other is legal, but `http://www.w3.org/2000/xmlns/`, for one, is not: the strict reader knows.
_NAMESPACE: Final = r"\"http://messagegears\.com/[A-Za-z0-9./_-]*\""
_DECLARATION: Final = r"(?:<\?xml version=\"1\.0\"(?: encoding=\"(?:UTF|utf)-8\")?(?: standalone=\"(?:yes|no)\")? ?\?>[ \t\r\n]*)?"
_HEAD: Final = rf"^{_DECLARATION}<ActivityItems(?: xmlns(?::[a-z]+)?={_NAMESPACE})?[ \t\r\n]*>"
_PREFIXED: Final = rf"^{_DECLARATION}<([a-z]+):ActivityItems xmlns:([a-z]+)={_NAMESPACE}[ \t\r\n]*>"
_PREFIXES: Final = 4
"""Prefixes of a batch that are looked after, at most: a feed has one."""

_ALTERNATES: Final = r"^(?:<[^<>\x00-\x08\x0B\x0C\x0E-\x1F\x{FFFE}\x{FFFF}]*>[^<>\x00-\x08\x0B\x0C\x0E-\x1F\x{FFFE}\x{FFFF}]*)*$"

_LONGEST_BODY: Final = 8 * 2**20
"""Bytes. libxml2 refuses a text of more than 10 million."""

_LT, _GT, _AMPERSAND, _TAB, _LF, _CR, _SPACE, _EF = (ord(sign) for sign in "<>&\t\n\r \xef")


class Tokens(NamedTuple):
    """Tags and texts of some bodies, in order.

    ``tags`` (``<Name`` or ``</Name``) and ``texts`` (``>`` and what stands behind a tag, up to the next) are String series of
    the same length. ``first`` (UInt32) is the position of the first tag of each body, which is ``<ActivityItems`` whatever its
    namespace; ``bodies`` (UInt32) says which bodies of the batch these are. ``special`` are the characters, of ``&`` and carriage
    return, that occur anywhere: they mean something else than they are. ``data`` are the bytes of the bodies, one behind the other,
    and ``cuts`` (UInt32) where their brackets stand in it.
    """

    tags: pl.Series
    texts: pl.Series
    first: pl.Series
    bodies: pl.Series
    special: tuple[str, ...]
    data: pa.Buffer
    cuts: pl.Series

    def text(self, first: int, last: int) -> str:
        """What stands from one tag to another, both included, as received but for the prefix of its bundle."""
        start, end = self.cuts[2 * first], self.cuts[2 * last + 1] + 1
        return self.data[start:end].to_pybytes().decode()


def tokenize(bodies: pl.Series) -> Tokens | None:
    """Cut bodies (String) into tags and texts; those that are no plain alternation of both are left out. ``None`` where none is."""
    stripped = bodies.str.strip_chars_start("\ufeff" + WHITE_SPACE).str.strip_chars_end(WHITE_SPACE)
    heads = _without_prefix(stripped).str.replace(_HEAD, _ROOT + ">")
    plain = heads.str.starts_with(_ROOT + ">") & heads.str.ends_with(">") & (heads.str.len_bytes() <= _LONGEST_BODY)
    tokens = _cut(heads, plain)
    return tokens if tokens is not None else _cut(heads, plain & heads.str.contains(_ALTERNATES))


def _without_prefix(bodies: pl.Series) -> pl.Series:
    """The bodies; from those whose tags all have the prefix that their root binds, that is taken.

    In a body that is an alternation ``<`` begins a tag and nothing else. If only some tags had the prefix, a start tag with it and an end
    tag without it would come to match.
    """
    named = bodies.str.extract_groups(_PREFIXED).struct.unnest()
    first, second = named.to_series(0), named.to_series(1)
    for prefix in first.filter(first == second).unique().head(_PREFIXES):
        own = ((first == prefix) & (second == prefix)).arg_true()
        tags, prefixed = (bodies.gather(own).str.count_matches(pattern) for pattern in ("<[^?]", f"</?{prefix}:"))
        own = own.filter(tags == prefixed)
        bodies = with_texts_at(bodies, own, bodies.gather(own).str.replace_many([f"<{prefix}:", f"</{prefix}:"], ["<", "</"]))
    return bodies


def with_texts_at(texts: pl.Series, positions: pl.Series, others: pl.Series) -> pl.Series:
    """Texts (String) with others at some positions.

    Those are put behind them and gathered into their places: to write into a column of text copies all of it, piece by piece.
    """
    if positions.is_empty():
        return texts
    behind = pl.int_range(texts.len(), texts.len() + positions.len(), dtype=pl.UInt32, eager=True)
    return pl.concat([texts, others]).gather(pl.int_range(texts.len(), dtype=pl.UInt32, eager=True).scatter(positions, behind))


def _cut(heads: pl.Series, wanted: pl.Series) -> Tokens | None:
    """Cut the wanted bodies; ``None`` where there are none, or one of them is no alternation."""
    bodies = wanted.fill_null(value=False).arg_true()
    if bodies.is_empty():
        return None
    chosen = heads.gather(bodies)
    _, starts, data = chosen.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
    assert data is not None
    signs = pl.Series(pa.Array.from_buffers(pa.uint8(), data.size, [None, data]))
    if _forbidden(signs, chosen):
        return None
    cuts = ((signs == _LT) | (signs == _GT)).arg_true()
    if cuts.len() % 2:
        return None
    offsets = pl.concat([cuts.cast(pl.Int64), pl.Series([data.size], dtype=pl.Int64)]).to_arrow().buffers()[1]
    pieces = pl.Series(pa.Array.from_buffers(pa.large_utf8(), cuts.len(), [None, offsets, data]))
    tags, texts = pieces.gather_every(2), pieces.gather_every(2, 1)
    if not (tags.str.starts_with("<").all() and texts.str.starts_with(">").all()):
        return None
    special = tuple(chr(sign) for sign in (_AMPERSAND, _CR) if (signs == sign).any())
    bounds = pl.Series(pa.Array.from_buffers(pa.int64(), bodies.len(), [None, starts]))
    first = cuts.search_sorted(bounds) // 2
    return Tokens(tags, texts, first.cast(pl.UInt32), bodies.cast(pl.UInt32), special, data, cuts)


def _forbidden(signs: pl.Series, bodies: pl.Series) -> bool:
    """Whether the bytes hold a character that XML forbids. Bytes are compared eight or more at a time; a pattern takes ten times as long."""
    blanks = sum(int((signs == blank).sum()) for blank in (_TAB, _LF, _CR))
    if int((signs < _SPACE).sum()) != blanks:
        return True
    return bool((signs == _EF).any()) and bool(bodies.str.contains("[\ufffe\uffff]").any())
