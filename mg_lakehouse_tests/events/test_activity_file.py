"""A daily file is cut into bundles that are documents of their own, whatever it holds and however its bytes arrive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from mg_lakehouse.events.formats.xml_file import ActivityFileReader, FileBundle

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<AccountActivityResponse xmlns="http://messagegears.com/3.1/webService"><RequestId>a1</RequestId>'
    "<Result>REQUEST_SUCCESSFUL</Result><ActivityDate>2026-03-01</ActivityDate>"
)
ITEMS = [
    "<OpenActivity><ActivityId>o1</ActivityId></OpenActivity>",
    "<ClickActivity><Url>https://a.example/?x=1&amp;y=2</Url></ClickActivity>",
    "<ClickActivity><UrlName><![CDATA[</ClickActivity><OpenActivity>]]></UrlName></ClickActivity>",
    "<UnsubActivity><!-- </UnsubActivity> <UnsubActivity> --><ActivityId>u1</ActivityId></UnsubActivity>",
    "<OpenActivity/>",
    '<OpenActivity xmlns:x="urn:u" x:a="&gt; \'q\'" ><ActivityId/></OpenActivity >',
    "<SomethingElse><OpenActivity>inner</OpenActivity></SomethingElse>",
    "<ClickActivity>\n  <UrlName>Größe 🎉</UrlName>\r\n</ClickActivity>",
    "<?pi <ClickActivity> ?><JobErrorActivity><JobError/><JobError></JobError></JobErrorActivity>",
]


def file_of(*items: str) -> str:
    return f"{HEAD}<ActivityItems>{''.join(items)}</ActivityItems></AccountActivityResponse>"


def cut(text: str, *, chunk: int = 7, **options: int) -> tuple[list[FileBundle], ActivityFileReader]:
    data = text.encode()
    reader = ActivityFileReader(data[start : start + chunk] for start in range(0, len(data), chunk))
    return list(reader.bundles(**options)), reader


def items_of(bundles: list[FileBundle]) -> Iterator[bytes]:
    """Each item as an XML parser of the whole bundle sees it, in canonical form."""
    for each in bundles:
        for node in etree.fromstring(each.body.encode()):
            if isinstance(node.tag, str):
                node.tail = None
                yield etree.tostring(node, method="c14n")


def test_items_keep_entities_cdata_self_closing_elements_and_namespaces() -> None:
    whole = etree.fromstring(file_of(*ITEMS).encode())[-1]
    expected = []
    for node in whole:
        if isinstance(node.tag, str):
            node.tail = None
            expected.append(etree.tostring(node, method="c14n"))
    bundles, reader = cut(file_of(*ITEMS), items=2)
    assert [bundle.items for bundle in bundles] == [2, 2, 2, 2, 1]
    assert list(items_of(bundles)) == expected
    assert len(expected) == len(ITEMS)
    assert (reader.complete, reader.undecodable, reader.prologue) == (True, False, HEAD)


def test_prefixes_that_the_envelope_binds_are_bound_in_every_bundle() -> None:
    text = (
        "<mg:AccountActivityResponse xmlns:mg=\"u\" xmlns:q='v'><mg:Result>REQUEST_SUCCESSFUL</mg:Result>"
        '<mg:ActivityItems xmlns="d"><mg:OpenActivity><q:Odd/></mg:OpenActivity><OpenActivity/></mg:ActivityItems></mg:AccountActivityResponse>'
    )
    bundles, _ = cut(text, items=1)
    assert [etree.fromstring(each.body)[0].tag for each in bundles] == ["{u}OpenActivity", "{d}OpenActivity"]
    assert etree.fromstring(bundles[0].body)[0][0].tag == "{v}Odd"


@pytest.mark.parametrize("items", ["<ActivityItems/>", "<ActivityItems></ActivityItems>", "<ActivityItems>\n</ActivityItems>"])
def test_an_empty_file_is_one_bundle_without_items(items: str) -> None:
    bundles, reader = cut(f"{HEAD}{items}</AccountActivityResponse>")
    assert [bundle.items for bundle in bundles] == [0]
    assert len(etree.fromstring(bundles[0].body)) == 0
    assert reader.complete


def test_what_is_no_file_has_no_items_and_is_kept_to_be_told_by() -> None:
    _, reader = cut("<html><body>Sign in</body></html>")
    assert (reader.has_items_tag, reader.prologue) == (False, "<html><body>Sign in</body></html>")


def test_an_item_that_never_closes_ends_where_the_next_of_its_kind_begins() -> None:
    bundles, reader = cut(file_of("<OpenActivity><A>1</A>", "<OpenActivity><A>2</A></OpenActivity>", "<OpenActivity><A>3</A>"), items=1)
    stretches = [bundle.body.removeprefix('<ActivityItems xmlns="http://messagegears.com/3.1/webService">') for bundle in bundles]
    assert stretches == [
        "<OpenActivity><A>1</A></ActivityItems>",
        "<OpenActivity><A>2</A></OpenActivity></ActivityItems>",
        "<OpenActivity><A>3</A></ActivityItems>",
    ]
    assert reader.complete


def test_a_file_that_breaks_off_keeps_what_is_there_and_is_not_complete() -> None:
    whole = file_of(*ITEMS[:2])
    bundles, reader = cut(whole[: whole.index("y=2")])
    assert [bundle.items for bundle in bundles] == [2]
    assert bundles[0].body.endswith("<Url>https://a.example/?x=1&amp;</ActivityItems>")
    assert not reader.complete


def test_an_item_behind_the_end_tag_is_an_item() -> None:
    bundles, _ = cut(f"{HEAD}<ActivityItems>{ITEMS[0]}</ActivityItems>{ITEMS[1]}</AccountActivityResponse>")
    assert sum(bundle.items for bundle in bundles) == 2


def test_the_size_of_an_item_is_bounded_and_nothing_of_it_is_lost() -> None:
    text = file_of("<OpenActivity><A>" + "x" * 5_000, "<!--" + "y" * 5_000, ITEMS[0])
    reader = ActivityFileReader((text[start : start + 100].encode() for start in range(0, len(text), 100)), largest_piece=1_000)
    pieces = [piece.text for piece in reader.pieces()]
    assert max(map(len, pieces)) <= 1_100
    assert "".join(pieces) == text[text.index("<OpenActivity") : text.index("</ActivityItems>")]


def test_the_encoding_that_the_file_declares_is_read() -> None:
    text = file_of("<ClickActivity><UrlName>Größe</UrlName></ClickActivity>")
    for data in (
        text.replace("UTF-8", "ISO-8859-1").encode("latin-1"),
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("UTF-8", "UTF-16").encode("utf-16"),
    ):
        reader = ActivityFileReader([data])
        (bundle,) = reader.bundles()
        assert "<UrlName>Größe</UrlName>" in bundle.body
        assert not reader.undecodable


def test_bytes_that_are_no_text_are_kept_as_windows_1252_and_told_of() -> None:
    reader = ActivityFileReader([file_of("<OpenActivity><A>x</A></OpenActivity>").encode().replace(b"x", b"\xe9 \x80\x81")])
    (bundle,) = reader.bundles()
    assert reader.undecodable
    assert "<A>\u00e9 \u20ac\x81</A>" in bundle.body


FRAGMENTS = [
    *ITEMS,
    "<OpenActivity>",
    "</OpenActivity>",
    "<",
    "&",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "text",
    " ",
    "</ClickActivity",
    "<A a='<'>",
    "é",
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12), st.integers(1, 60), st.integers(1, 4), st.booleans())
def test_all_pieces_are_everything_among_the_items_however_the_bytes_arrive(parts: list[str], chunk: int, items: int, ends: bool) -> None:
    text = file_of(*parts) if ends else f"{HEAD}<ActivityItems>{''.join(parts)}"
    inner = "".join(parts)
    bundles, reader = cut(text, chunk=chunk, items=items)
    opening = '<ActivityItems xmlns="http://messagegears.com/3.1/webService">'
    found = "".join(bundle.body.removeprefix(opening).removesuffix("</ActivityItems>") for bundle in bundles)
    # Where a comment or section swallows the end tags, they are part of what is left.
    assert found.strip() == inner.strip() or (not reader.complete and found.startswith(inner.rstrip()))
    again, second = cut(text, chunk=10_000, items=items)
    assert (again, second.digest, second.complete) == (bundles, reader.digest, reader.complete)
