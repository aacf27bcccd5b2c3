"""Hostile XML: nothing raises, nothing is fetched, nothing is expanded, and memory stays bounded."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mg_lakehouse.events.catalogue import EVENTS
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.security.laws import check

SECRET = "planted-5f1c"
GOOD = "<OpenActivity><ActivityId>1</ActivityId><RequestId>r</RequestId><Timestamp>2026-03-01T12:00:00.000-05:00</Timestamp></OpenActivity>"
NAMES = sorted({name for event in EVENTS for name in event.elements} | {"ActivityItems", "Timestamp", "Url", "NewActivity", "a:b", "x"})
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["2026-03-01T12:00:00.000-05:00", "&amp;", "&e;", "&#0;", "]]>", "<", "\x00", "\ud800", "é", "\ufeff"]
)
MARKUP = st.sampled_from(
    ["<!--", "-->", "<![CDATA[", "]]>", "<?xml version='1.0' encoding='utf-16'?>", "<!DOCTYPE x>", "<?p", "<", ">", "/>"]
)


def element(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """An element that may close, or close another one."""
    return st.builds(
        lambda name, attributes, inside, end: f"<{name}{attributes}>{''.join(inside)}{f'</{end}>' if end is not None else ''}",
        st.sampled_from(NAMES),
        st.sampled_from(["", " a='1'", ' xmlns="urn:x"', " a='", ' b="<"', " xmlns:a='u'"]),
        st.lists(children, max_size=4),
        st.sampled_from([*NAMES, None]) | st.sampled_from(NAMES),
    )


BODIES = st.lists(st.recursive(TEXTS | MARKUP, element, max_leaves=12) | st.just(GOOD), max_size=6).map("".join)


@given(st.builds(lambda wrapped, body: f"<ActivityItems>{body}</ActivityItems>" if wrapped else body, st.booleans(), BODIES))
@example(f"<ActivityItems stray < text {GOOD}{GOOD.replace('2026', 'x')}</ActivityItems>")
def test_no_body_raises_loses_or_grows(body: str) -> None:
    check(body)


@given(st.data())
def test_no_sample_that_was_damaged_raises_loses_or_grows(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(list(samples().values())))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(len(body), start + 40)))
        body = body[:start] + data.draw(TEXTS | MARKUP) + body[end:]
    check(body)


@pytest.fixture(scope="module")
def visitors() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(SECRET.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


FETCHING = {
    "an external entity": '<!DOCTYPE a [<!ENTITY e SYSTEM "{address}">]><ActivityItems>{item}</ActivityItems>',
    "an external parameter entity": '<!DOCTYPE a [<!ENTITY % e SYSTEM "{address}"> %e;]><ActivityItems>{item}</ActivityItems>',
    "an external document type": '<!DOCTYPE ActivityItems SYSTEM "{address}"><ActivityItems>{item}</ActivityItems>',
    "a public document type": '<!DOCTYPE ActivityItems PUBLIC "x" "{address}"><ActivityItems>{item}</ActivityItems>',
    "an inclusion": '<ActivityItems xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{address}" parse="text"/>{item}</ActivityItems>',
    "a schema": (
        '<ActivityItems xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="{address}">{item}</ActivityItems>'
    ),
    "a style sheet": '<?xml-stylesheet href="{address}"?><ActivityItems>{item}</ActivityItems>',
}


@pytest.mark.parametrize("kind", FETCHING)
@pytest.mark.parametrize("scheme", ["http", "file"])
def test_nothing_is_fetched_through(kind: str, scheme: str, visitors: tuple[str, list[str]], tmp_path: Path) -> None:
    address, asked = visitors
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    item = GOOD.replace("<RequestId>r", "<RequestId>&e;") if "entity" in kind else GOOD
    found = check(FETCHING[kind].format(address=address if scheme == "http" else secret.as_uri(), item=item))
    assert asked == []
    for frame in (*found.tables.values(), found.rejected):
        assert SECRET not in frame.write_json()


LAUGHS = "".join(f'<!ENTITY e{number} "{f"&e{number - 1};" * 10}">' for number in range(1, 10))
BOMBS = {
    "a billion laughs": f'<!DOCTYPE a [<!ENTITY e0 "ha">{LAUGHS}]><ActivityItems>&e9;</ActivityItems>',
    "a quadratic blow-up": f'<!DOCTYPE a [<!ENTITY e "{"x" * 50_000}">]><ActivityItems>{"&e;" * 50_000}</ActivityItems>',
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_entity_is_expanded(bomb: str) -> None:
    found = check(BOMBS[bomb])
    assert found.rejected["reason"].to_list() == ["malformed_xml"]
    assert found.tables == {}


def test_entities_without_a_document_type_are_refused_and_cost_no_sibling() -> None:
    found = check(f"<ActivityItems>{GOOD}<ClickActivity><Url>&e;</Url></ClickActivity></ActivityItems>")
    assert found.tables["opens"].height == 1
    assert found.rejected["element"].to_list() == ["ClickActivity"]


MEBIBYTE = 2**20
LARGE = {
    "deep nesting": "<ActivityItems>" + "<a>" * 170_000 + "</a>" * 170_000 + "</ActivityItems>",
    "many attributes": "<ActivityItems><ClickActivity " + " ".join(f"a{number}='x'" for number in range(80_000)) + "/></ActivityItems>",
    "a huge attribute": f"<ActivityItems><ClickActivity a='{'x' * MEBIBYTE}'/></ActivityItems>",
    "a huge name": f"<ActivityItems><{'N' * MEBIBYTE}Activity/></ActivityItems>",
    "a huge text": GOOD.replace("<RequestId>r", f"<RequestId>{'r' * MEBIBYTE}").join(("<ActivityItems>", "</ActivityItems>")),
    "many items": f"<ActivityItems>{'<NewActivity/>' * 70_000}</ActivityItems>",
    "many namespaces": "<ActivityItems " + " ".join(f"xmlns:n{number}='u'" for number in range(40_000)) + f">{GOOD}</ActivityItems>",
    "the wrong encoding": '<?xml version="1.0" encoding="UTF-16"?><ActivityItems>' + GOOD * 5_000 + "</ActivityItems>",
}
CHILD = """
import resource, sys
from mg_lakehouse_tests.security.laws import check
check("<ActivityItems/>")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
check(sys.stdin.read())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("body", LARGE)
@pytest.mark.timeout(60)
def test_a_mebibyte_of_anything_costs_bounded_memory(body: str) -> None:
    """SQS carries 1 MiB at most; 70,000 items make 70,000 rows, and those are the dearest."""
    done = subprocess.run([sys.executable, "-c", CHILD], input=LARGE[body], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert int(done.stdout) < 500, "MiB"


def test_a_body_that_declares_another_encoding_is_read_as_the_text_that_it_is() -> None:
    """SQS hands out text: what a declaration says of its bytes is past."""
    found = check(f'<?xml version="1.0" encoding="UTF-16"?><ActivityItems>{GOOD}</ActivityItems>')
    assert found.items == 1
