"""The fast reading of plain items: a batch of bodies to text cells, column by column, with no Python per event.

An item is plain when it is of the catalogue, each of its children fills a column, no column is filled twice, and there is nothing
else: no attribute, prefix, comment, unknown child, error list, and an id. Whether it is so is proved tag by tag. An item that is
not plain is parsed alone, as the strict reader would; a bundle in which anything but its items is out of the ordinary, or
whose tags do not balance, is left to the strict reader (:mod:`mg_lakehouse.events.reader`) as a whole. Both give the same
cells, which a property test holds: they differ in speed only.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import polars as pl

from mg_lakehouse.events.catalogue import event_of_table
from mg_lakehouse.events.extract import raw_schema
from mg_lakehouse.events.grammar import Kind, Slot, grammar
from mg_lakehouse.events.reader import Item, read_item
from mg_lakehouse.events.schemas import ERRORS
from mg_lakehouse.events.tokens import BLANK, Tokens, tokenize, with_texts_at

__all__ = ["NOTHING_PLAIN", "OddItem", "PlainReading", "read_plain"]

# XML's own entities; `&amp;` too is replaced in the one pass, so that `&amp;lt;` becomes `&lt;`.
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}
_KNOWN_ENTITIES_ONLY: Final = r"^[^&\r]*(?:&(?:lt|gt|quot|apos|amp);[^&\r]*)*$"


class OddItem(NamedTuple):
    """An item that is not plain, parsed, and the position of its body in the batch."""

    body: int
    item: Item


class PlainReading(NamedTuple):
    """What the bodies of a batch hold whose items could be told apart.

    ``bodies`` (UInt32, ascending) are their positions in the batch, ``items`` (UInt32) how many items each of them has. ``cells`` has one
    frame per event table with plain items, with the columns of :func:`~mg_lakehouse.events.extract.raw_schema`, ordered by message and
    position; ``odd`` are the items that are not plain.
    """

    bodies: pl.Series
    items: pl.Series
    cells: dict[str, pl.DataFrame]
    odd: list[OddItem]


NOTHING_PLAIN: Final = PlainReading(pl.Series(dtype=pl.UInt32), pl.Series(dtype=pl.UInt32), {}, [])


def read_plain(bodies: pl.Series) -> PlainReading:
    """Read those of some bodies (String) whose items can be told apart by their tags alone."""
    tokens = tokenize(bodies)
    if tokens is None:
        return NOTHING_PLAIN
    tags, unbalanced = _balanced(_tags(tokens), tokens)
    tags, disturbed = _undisturbed(tags)
    items = _items(tags)
    children = _children(tags, items)
    filled = _filled(children, tokens.special)
    cells = {
        str(table): _cells(str(table), own, filled)
        for (table,), own in items.filter("plain").partition_by("table", as_dict=True, include_key=False).items()
    }
    unfit = [found["item"].filter(_unfit(found, table)) for table, found in cells.items()]
    odd = pl.concat([items["item"].filter(~items["plain"]), _odd(children, filled), *unfit]).unique().sort()
    parsed, broken = _parsed(items[odd], tokens)
    return _reading(tokens, items, cells, parsed, odd=odd, left=pl.concat([unbalanced, disturbed, broken]))


def _tags(tokens: Tokens) -> pl.DataFrame:
    """Each tag, and the text behind it.

    ``code`` and ``kind`` are null where the grammar has none; ``text`` is stripped, ``place`` the tag's among all, ``body`` the ordinal of its
    body, ``deeper`` how much deeper what follows is.
    """
    known = grammar()
    code = tokens.tags.cast(known.vocabulary, strict=False).to_physical().cast(pl.UInt16)
    begins = pl.zeros(code.len(), pl.UInt32, eager=True).scatter(tokens.first, 1)
    deeper = known.deeper_by.gather(code)
    unknown = code.is_null().arg_true()
    return pl.DataFrame(
        {
            "code": code,
            "kind": known.kind_of.gather(code),
            "text": tokens.texts.str.strip_chars(BLANK),
            "place": pl.int_range(code.len(), dtype=pl.UInt32, eager=True),
            "body": begins.cum_sum() - 1,
            "deeper": deeper.scatter(unknown, _deeper(tokens.tags.gather(unknown))) if unknown.len() else deeper,
        }
    )


def _deeper(tags: pl.Series) -> pl.Series:
    """How much deeper what follows is, of any tags: 1, or -1 behind an end tag, or 0 behind an empty tag, a comment or the like."""
    flat = pl.col("tag").str.ends_with("/") | pl.col("tag").str.contains("^<[!?]")
    levels = pl.when(pl.col("tag").str.starts_with("</")).then(-1).when(flat).then(0).otherwise(1)
    return tags.alias("tag").to_frame().select(levels.cast(pl.Int32)).to_series()


def _balanced(tags: pl.DataFrame, tokens: Tokens) -> tuple[pl.DataFrame, pl.Series]:
    """The tags of the bodies whose first tag is closed by the last, with the ``depth`` at which each stands; and the other bodies."""
    after = tags["deeper"].cum_sum()
    before = after - tags["deeper"]
    base = before.gather(tokens.first)
    if (base != 0).any():
        before, after = (level - base.gather(tags["body"]) for level in (before, after))
    last = (pl.concat([tokens.first.slice(1), pl.Series([tags.height], dtype=pl.UInt32)]) - 1).to_frame("place")
    ends = (after <= 0).arg_true().cast(pl.UInt32).to_frame("place")
    wrong = pl.concat([last.join(ends, on="place", how="anti"), ends.join(last, on="place", how="anti")])["place"]
    unbalanced = tags["body"].gather(wrong).unique()
    tags = tags.with_columns(depth=before)
    return (tags.filter(~pl.col("body").is_in(unbalanced.implode())) if unbalanced.len() else tags), unbalanced


def _undisturbed(tags: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """The tags of the bodies that hold nothing but items at their first level; and the other bodies.

    Of each tag: whether it ``opens`` or ``closes`` an item, whether its text is ``blank``, and the ordinal of the ``item`` that it is of.
    """
    tags = tags.with_columns(
        opens=(pl.col("depth") == 1) & (pl.col("deeper") == 1),
        closes=(pl.col("depth") == 2) & (pl.col("deeper") == -1),
        blank=pl.col("text").str.len_bytes() == 0,
    )
    root = (pl.col("depth") == 0) | ((pl.col("depth") == 1) & (pl.col("kind") == Kind.ROOT_CLOSE))
    inside = (pl.col("depth") >= 2) & ~pl.col("closes")
    fits = pl.col("opens") | inside | ((root | pl.col("closes")) & pl.col("blank"))
    disturbed = tags.select(pl.col("body").filter(~fits.fill_null(value=False))).to_series().unique()
    tags = tags.filter(~pl.col("body").is_in(disturbed.implode())) if disturbed.len() else tags
    return tags.with_columns(item=(pl.col("opens").cum_sum() - 1).cast(pl.UInt32)), disturbed


def _items(tags: pl.DataFrame) -> pl.DataFrame:
    """Each ``item`` by its ordinal, with its ``body`` and ``item_index``.

    ``number`` is that of its name, ``plain`` whether it is so as far as its tags tell, ``row`` its row among the plain items of its ``table``,
    ``first`` and ``last`` are the places of its tags.
    """
    known = grammar()
    before = pl.when("opens").then(Kind.BOUNDARY.value).otherwise(pl.col("kind").shift(1)).cast(pl.UInt8)
    kind, code = tags["kind"], tags["code"]
    follows = known.follows.gather(tags.select(before * len(Kind)).to_series() + kind)
    closes_child = (kind != Kind.CHILD_CLOSE.value) | (code == code.shift(1) + known.names)
    # Text behind an end of an item is between items, and was seen to.
    blank = tags["blank"] | (kind == Kind.CHILD_OPEN.value) | tags["closes"]
    inside = (tags["depth"] >= 2) | tags["opens"]
    odd = tags["item"].filter(inside & ~(follows & closes_child & blank).fill_null(value=False)).unique()
    starts, ends = tags.filter("opens"), tags.filter("closes")
    named = (starts["code"] + known.names == ends["code"]).fill_null(value=False)
    items = starts.select(
        "body",
        item=pl.int_range(pl.len(), dtype=pl.UInt32),
        item_index=pl.int_range(pl.len()).over("body"),
        number="code",
        table=known.table_of.gather(starts["code"]),
        first="place",
        last=ends["place"],
    )
    items = items.with_columns(plain=named & ~items["item"].is_in(odd.implode()))
    return items.with_columns(row=pl.when("plain").then(pl.col("plain").cum_sum().over("table") - 1).cast(pl.UInt32))


def _children(tags: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Each child of a plain item: the ordinal of its ``item``, the ``row`` of that, the ``slot`` that it fills (null for none), its ``text``.

    Ordered by slot, those of none first, and within one by item.
    """
    known = grammar()
    own = tags.select("kind", "code", "text", "item").filter(pl.col("kind").is_in([Kind.CHILD_OPEN.value, Kind.CHILD_EMPTY.value]))
    if not items["plain"].all():
        own = own.filter(items["plain"].gather(own["item"]))
    child = own["code"] % known.names - len(known.items) - 1
    slots = known.slot_of.gather((items["number"].gather(own["item"]) - 1) * known.children + child)
    return own.select("item", "text", row=items["row"].gather(own["item"]), slot=slots).sort("slot", maintain_order=True, nulls_last=False)


class _Filled(NamedTuple):
    """The children of each slot: where they begin and end, and their texts: decoded, null where empty.

    ``strange`` (UInt32) are the positions of texts that only the strict reader understands, ``repeated`` those that fill a column again.
    """

    bounds: dict[Slot, tuple[int, int]]
    rows: pl.Series
    texts: pl.Series
    strange: pl.Series
    repeated: pl.Series


def _filled(children: pl.DataFrame, special: tuple[str, ...]) -> _Filled:
    known = grammar()
    slot, text = children["slot"], children["text"]
    starts = slot.search_sorted(pl.Series(range(len(known.slots) + 1), dtype=slot.dtype)).to_list()
    bounds = {each: bound for each, bound in zip(known.slots, pairwise(starts), strict=True) if bound[0] < bound[1]}
    marked = children.select(pl.any_horizontal(pl.lit(value=False), *(pl.col("text").str.contains(sign, literal=True) for sign in special)))
    positions = marked.to_series().arg_true()
    escaped = text.gather(positions)
    strange = positions.filter(~escaped.str.contains(_KNOWN_ENTITIES_ONLY))
    decoded = with_texts_at(text, positions, escaped.str.replace_many(_ENTITIES)).set(text.str.len_bytes() == 0, None)
    repeated = ((slot == slot.shift(1)) & (children["item"] == children["item"].shift(1))).arg_true()
    return _Filled(bounds, children["row"], decoded, strange, repeated)


def _odd(children: pl.DataFrame, filled: _Filled) -> pl.Series:
    """Ordinals of the items with a child that is not plain."""
    return pl.concat(
        [children["item"].head(children["slot"].null_count()), children["item"].gather(pl.concat([filled.strange, filled.repeated]))]
    )


def _cells(table: str, items: pl.DataFrame, filled: _Filled) -> pl.DataFrame:
    """Cells of a table, with the ordinal of the body in the place of the message, and that of the ``item``.

    Column by column, most of them empty: as expressions of one frame they took 3 ms a table, a quarter of the whole reading.
    """
    height = items.height
    known = {
        "item": items["item"],
        "message": items["body"],
        "item_index": items["item_index"],
        "element": pl.Series(("", *grammar().items)).gather(items["number"]),
        "is_inferred": pl.repeat(value=False, n=height, eager=True),
    }
    empty: dict[pl.DataType, pl.Series] = {
        dtype: pl.Series([None], dtype=dtype).new_from_index(0, height) for dtype in (pl.String(), ERRORS)
    }
    columns = {
        name: _column(filled, bounds, height) if (bounds := filled.bounds.get(Slot(table, name))) is not None else empty[dtype]
        for name, dtype in raw_schema(table).items()
        if name not in known
    }
    return pl.DataFrame({**known, **columns}).select("item", *raw_schema(table))


def _column(filled: _Filled, bounds: tuple[int, int], height: int) -> pl.Series:
    """The texts of a slot in their rows, null in the others."""
    start, end = bounds
    if end - start == height and filled.repeated.is_empty():
        return filled.texts.slice(start, height)
    rows = filled.rows.slice(start, end - start)
    place = pl.repeat(None, height, dtype=pl.UInt32, eager=True).scatter(rows, pl.int_range(start, end, dtype=pl.UInt32, eager=True))
    return filled.texts.gather(place)


def _unfit(cells: pl.DataFrame, table: str) -> pl.Series:
    """Items that the strict reader must look at: those without an id, and those that may belong to another table."""
    unfit = cells["activity_id"].is_null()
    event = event_of_table(table)
    if event.reclassify is not None:
        telling = [column.name for column in event.columns if event.reclassify.without.intersection(column.elements)]
        unfit |= cells.select(pl.all_horizontal(pl.col(telling).is_null())).to_series()
    return unfit


def _parsed(items: pl.DataFrame, tokens: Tokens) -> tuple[list[OddItem], pl.Series]:
    """Some items, each parsed alone; and the ordinals of the bodies of those that are not well-formed, which are whole only by chance."""
    parsed: list[OddItem] = []
    broken: list[int] = []
    for body, position, first, last in items.select("body", "item_index", "first", "last").iter_rows():
        item = read_item(tokens.text(first, last), position)
        if item is None:
            broken.append(body)
        else:
            parsed.append(OddItem(body, item))
    return parsed, pl.Series(broken, dtype=pl.UInt32)


def _reading(
    tokens: Tokens, items: pl.DataFrame, cells: dict[str, pl.DataFrame], parsed: list[OddItem], *, odd: pl.Series, left: pl.Series
) -> PlainReading:
    """The reading without the bodies that are ``left``, with bodies by their positions in the batch."""
    kept = (
        pl.int_range(tokens.bodies.len(), dtype=pl.UInt32, eager=True)
        .alias("body")
        .to_frame()
        .filter(~pl.col("body").is_in(left.implode()))
    )
    counts = kept.join(items.group_by("body").len(), on="body", how="left", maintain_order="left")["len"].fill_null(0)
    gone = items.select(pl.col("item").is_in(odd.implode()) | pl.col("body").is_in(left.implode())).to_series()
    found = {}
    for table, frame in cells.items():
        own = frame.filter(~gone.gather(frame["item"])) if gone.any() else frame
        found[table] = own.with_columns(message=tokens.bodies.gather(own["message"])).drop("item")
    lost = set(left)
    return PlainReading(
        tokens.bodies.gather(kept["body"]),
        counts,
        {table: frame for table, frame in found.items() if frame.height},
        [each._replace(body=tokens.bodies[each.body]) for each in parsed if each.body not in lost],
    )
