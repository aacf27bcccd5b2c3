"""Opt-outs that do not fall off the list: each case in every order of arrival, with what must come of it worked out by hand.

A case is some events and what they say in the end. Each of its orders of arrival has addresses, ids and jobs of its own, so that all of them
stand in one lake: at each step the next event of every order comes, and gold is built.
"""

from __future__ import annotations

import hmac
import io
import itertools
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from mg_lakehouse.gold.addresses import canonical_address
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.suppression_filter import Wanted
from mg_lakehouse.serving.suppressions import export_stream
from mg_lakehouse_tests.gold.helpers import (
    NOON,
    PII_KEY,
    Event,
    append,
    check_tables,
    event,
    log_text,
    one,
    rows_of,
    run,
    table,
    with_inputs,
)
from mg_lakehouse_tests.templates import copied, made_once

HOUR: Final = 3_600
STEP: Final = timedelta(hours=3)
"""Between two steps; an export goes back for an hour before the newest row."""
FIRST: Final = NOON + timedelta(days=5)
"""When the first events are received, long after they happened."""

AT_MOST: Final = 2
FEW_ADDRESSES: Final = {"recipient_addresses_at_most": AT_MOST}
"""Three addresses are more than a person has: by default it takes six."""

MODELS: Final = ("recipient_addresses", "suppression_evidence", "suppression_list", "suppression_removals", "unresolved_opt_outs")
TABLES: Final = (*MODELS, "suppression_violations")


@dataclass(frozen=True)
class Case:
    """Events of an order of arrival, by its name, and what they say in the end, whatever the order.

    ``listed`` are the addresses on the list, each with the time at which the lake had all that put it there, given at which step each event came.
    ``violations`` are the jobs that should not have been sent.
    """

    events: Callable[[str], list[Event]]
    listed: dict[str, Callable[[Sequence[int]], int]] = field(default_factory=dict)
    violations: Sequence[str] = ()
    unresolved: int = 0
    removed: dict[str, Callable[[Sequence[int]], int]] = field(default_factory=dict)


def mail(
    name: str, job: str, who: str | None, address: str | None, hours: float = 0, *, table_: str = "deliveries", **values: Any
) -> Event:
    """An event of e-mail; ids, addresses and jobs are those of the order ``name``."""
    email = None if address is None else f"{address}-{name}@corp.example"
    return event(table_, hours * HOUR, request=f"{job}-{name}", recipient_id=who and f"{who}-{name}", email=email, **values)


def text_sent(name: str, job: str, number: str, hours: float, table_: str = "sms_deliveries", **values: Any) -> Event:
    return event(table_, hours * HOUR, request=f"{job}-{name}", phone=number.replace("#", number_of(name)), **values)


def text_came(name: str, number: str, hours: float, kind: str) -> Event:
    phone = number.replace("#", number_of(name))
    return event("sms_inbounds", hours * HOUR, request=None, phone=phone, inbound_message_type=kind, destination_sms_number="12345")


def number_of(name: str) -> str:
    """Seven digits of the order."""
    return f"{int(hmac.new(b'', name.encode(), 'sha256').hexdigest()[:8], 16) % 10**7:07d}"


# In a job that never mailed her address Ann leaves by her id. Two other jobs know the address, and mail it after that.
BY_ID: Final = Case(
    lambda name: [
        mail(name, "a", "ann", None, table_="unsubscribes"),
        mail(name, "b", "ann", "ann", hours=1),
        mail(name, "c", "ann", "ann", hours=2),
    ],
    {"ann": lambda step: max(step[0], min(step[1], step[2]))},
    ["b", "c"],
)

# One address under two ids: who left as the one is not to be mailed as the other.
TWO_IDS: Final = Case(
    lambda name: [
        mail(name, "z", "x", None, hours=1, table_="unsubscribes"),
        mail(name, "a", "x", "ben"),
        mail(name, "b", "y", "ben", hours=2),
    ],
    {"ben": lambda step: max(step[0], step[1])},
    ["b"],
)

# One id with two addresses: a complaint by the id is about both.
TWO_ADDRESSES: Final = Case(
    lambda name: [
        mail(name, "a", "cat", "cat"),
        mail(name, "b", "cat", "kitty", hours=2),
        mail(name, "z", "cat", None, hours=1, table_="spam_complaints"),
    ],
    {"cat": lambda step: max(step[0], step[2]), "kitty": lambda step: max(step[1], step[2])},
    ["b"],
)

# Who says his address means that one, whatever else his id is known by.
HIS_ADDRESS: Final = Case(
    lambda name: [
        mail(name, "a", "dan", "dan", table_="unsubscribes"),
        mail(name, "b", "dan", "danny", hours=1),
        mail(name, "c", "dan", "dan", hours=1),
    ],
    {"dan": lambda step: step[0]},
    ["c"],
)

# A bounce is of an address: without one it is of the address that its own job knows.
BOUNCE: Final = Case(
    lambda name: [
        mail(name, "a", "eve", None, hours=1, table_="bounces", category_code=10),
        mail(name, "a", "eve", "eve"),
        mail(name, "b", "eve", "evelyn", hours=2),
    ],
    {"eve": lambda step: max(step[0], step[1])},
)

# A bounce of which no address is known is no opt-out, and nobody's.
LOST_BOUNCE: Final = Case(
    lambda name: [
        mail(name, "a", "fay", None, table_="bounces", category_code=30),
        mail(name, "b", "fay", "fay", hours=1),
    ],
)

# What stands for no id ties nobody to anybody.
PLACEHOLDER: Final = Case(
    lambda name: [
        event("unsubscribes", request=f"a-{name}", recipient_id="NULL"),
        event("deliveries", HOUR, request=f"a-{name}", recipient_id="NULL", email=f"gus-{name}@corp.example"),
        event("deliveries", HOUR, request=f"a-{name}", recipient_id="NULL", email=f"hal-{name}@corp.example"),
    ],
    unresolved=1,
)

# An id of three addresses is no person's; before the third is known it is.
SHARED: Final = Case(
    lambda name: [
        mail(name, "a", "desk", None, table_="unsubscribes"),
        mail(name, "b", "desk", "ida", hours=1),
        mail(name, "c", "desk", "jim", hours=1),
        mail(name, "d", "desk", "kim", hours=1),
    ],
    unresolved=1,
)

# A STOP stops the number, in whatever way it is written.
STOP: Final = Case(
    lambda name: [
        text_came(name, "1555#", 1, "STOP"),
        text_sent(name, "a", "+1555#", 0),
        text_sent(name, "b", "+1 (555) #", 2),
    ],
    {
        "1555#": lambda step: step[0],
        "+1555#": lambda step: max(step[0], step[1]),
        "+1 (555) #": lambda step: max(step[0], step[2]),
    },
    ["b"],
)

# A START takes back the STOP of the same number, in whatever way each is written.
START: Final = Case(
    lambda name: [
        text_came(name, "+1556#", 1, "STOP"),
        text_came(name, "1-556-#", 2, "START"),
        text_sent(name, "a", "001556#", 3),
    ],
    removed={
        "+1556#": lambda step: max(step[0], step[1]),
        "001556#": max,
    },
)

# A number that is none is none however it is written.
NO_NUMBER: Final = Case(
    lambda name: [
        text_sent(name, "a", "+1557#", 0, "sms_delivery_failures", category="INVALID_ADDRESS"),
        text_sent(name, "b", "1557#", 1),
    ],
    {"+1557#": lambda step: step[0], "1557#": lambda step: max(step[0], step[1])},
    ["b"],
)

# One address in three spellings: who left as one of them is not to be mailed as another, and the list has each, and the one that all have.
SPELLED: Final = Case(
    lambda name: [
        event("unsubscribes", request=f"a-{name}", email=f"Eve Doe <EVE-{name}@corp.example>"),
        event("deliveries", HOUR, request=f"b-{name}", email=f"eve-{name}@corp.example.\u200b"),
        event("deliveries", 2 * HOUR, request=f"c-{name}", email=f"eve-{name}@CORP.example"),
    ],
    {
        "eve doe <eve-%@corp.example>": lambda step: step[0],
        "eve-%@corp.example": lambda step: step[0],
        "eve-%@corp.example.\u200b": lambda step: max(step[0], step[1]),
    },
    ["b", "c"],
)

# Nobody at all.
NOBODY: Final = Case(lambda name: [event("spam_complaints", request=f"a-{name}"), text_came(name, " ", 0, "STOP")], unresolved=2)

CASES: Final = {
    "byid": BY_ID,
    "twoids": TWO_IDS,
    "twoaddresses": TWO_ADDRESSES,
    "hisaddress": HIS_ADDRESS,
    "bounce": BOUNCE,
    "lostbounce": LOST_BOUNCE,
    "placeholder": PLACEHOLDER,
    "shared": SHARED,
    "stop": STOP,
    "start": START,
    "nonumber": NO_NUMBER,
    "spelled": SPELLED,
    "nobody": NOBODY,
}


@dataclass(frozen=True)
class Order:
    """A case, and the step at which each of its events comes."""

    name: str
    case: Case
    steps: Sequence[int]

    @property
    def events(self) -> list[tuple[int, Event]]:
        """Each event with its step, and with the time of receipt that follows."""
        made = zip(self.steps, self.case.events(self.name), strict=True)
        return [(step, Event(each.table, {**each.values, "received_at": received(step)})) for step, each in made]

    def spelled(self, address: str) -> str:
        """An address of the case as it is in the lake."""
        if "%" in address:
            return address.replace("%", self.name)
        return address.replace("#", number_of(self.name)) if "#" in address else f"{address}-{self.name}@corp.example"


def received(step: int) -> datetime:
    return FIRST + step * STEP


def orders() -> Iterator[Order]:
    for name, case in CASES.items():
        count = len(case.events(name))
        for number, steps in enumerate(itertools.permutations(range(count))):
            yield Order(f"{name}{number}", case, steps)


ORDERS: Final = list(orders())
EVENTS: Final = [(step, each) for order in ORDERS for step, each in order.events]


@dataclass(frozen=True)
class Grown:
    """The lake after the last step, and by step what an export since the one before wrote."""

    lake: Lake
    exports: list[set[str]]


def built(lake: Lake, models: Collection[str] | None = None, **options: Any) -> None:
    """Models alone: that their data tests hold is looked at once."""
    usual = {*MODELS, *with_inputs("suppression_violations")}
    done = run(lake, models=usual if models is None else models, tests=(), **(options or {"variables": FEW_ADDRESSES}))
    assert done.ok, done


def exported(lake: Lake, wanted: Wanted) -> tuple[set[str], datetime | None]:
    stream = io.StringIO()
    done = export_stream(lake, wanted, stream)
    return {line.split(",")[1] for line in stream.getvalue().splitlines()[1:]}, done.mark


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    lake = Lake(str(tmp_path_factory.mktemp("grown") / "lake"))
    exports, mark = [], None
    for step in range(max(step for step, _ in EVENTS) + 1):
        append(lake, [each for at, each in EVENTS if at == step])
        built(lake)
        found, mark = exported(lake, Wanted(since=mark))
        exports.append(found)
    return Grown(lake, exports)


def expected_list() -> dict[str, datetime]:
    return {order.spelled(address): received(known(order.steps)) for order in ORDERS for address, known in order.case.listed.items()}


def test_the_list_is_the_same_in_every_order_of_arrival(grown: Grown) -> None:
    found = dict(table(grown.lake, "suppression_list").select("address", "listed_at").rows())
    assert found == expected_list()


def test_the_violations_are_the_same_in_every_order_of_arrival(grown: Grown) -> None:
    found = table(grown.lake, "suppression_violations")["request_id"].to_list()
    assert sorted(found) == sorted(f"{job}-{order.name}" for order in ORDERS for job in order.case.violations)


def test_an_opt_out_of_nobody_who_is_known_stands_in_a_table_of_its_own(grown: Grown) -> None:
    found = table(grown.lake, "unresolved_opt_outs")
    assert found.height == sum(order.case.unresolved for order in ORDERS)
    assert set(found["recipient_id"].drop_nulls()) == {f"desk-{order.name}" for order in ORDERS if order.case is SHARED}


def test_what_was_taken_back_is_told(grown: Grown) -> None:
    found = dict(table(grown.lake, "suppression_removals").select("address", "removed_at").rows())
    expected = {order.spelled(address): received(known(order.steps)) for order in ORDERS for address, known in order.case.removed.items()}
    assert found == expected


def test_grown_step_by_step_gold_is_what_it_is_at_once(grown: Grown, tmp_path_factory: pytest.TempPathFactory) -> None:
    lake = Lake(str(tmp_path_factory.mktemp("at-once") / "lake"))
    append(lake, [each for _, each in EVENTS])
    built(lake)
    for name in TABLES:
        assert rows_of(grown.lake, name) == rows_of(lake, name), name
    # Its data tests hold too; ids that are of nobody are told, and so is who cannot be found.
    done = check_tables(lake, " ".join(TABLES), variables=FEW_ADDRESSES)
    told = {node.name for node in done.nodes.values() if node.status != "pass"}
    assert told == {"recipient_addresses_recipient_ids_name_one_person", "unresolved_opt_outs_none"}
    assert done.ok


def test_exports_each_since_the_one_before_miss_nothing_and_repeat_little(grown: Grown) -> None:
    """An entry is in the export of the step at which the lake had all of it, and again in the next, which goes back for an hour before the newest row."""
    for step, found in enumerate(grown.exports):
        expected = {address for address, at in expected_list().items() if at == received(step)}
        assert expected <= found, step
        late = {address for address, at in expected_list().items() if at < received(step - 1)}
        assert not found & late, step


def test_the_log_of_no_table_tells_an_address(grown: Grown) -> None:
    assert [each for each in ("corp.example", "+155") if each in log_text(grown.lake)] == []


# The marks of exports.

SOON: Final = NOON + timedelta(days=30)


def unsubscribed(who: str, received_at: datetime) -> Event:
    return event("unsubscribes", request="b1-x", email=f"{who}@corp.example", received_at=received_at)


@pytest.fixture
def lake(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Lake:
    def make(folder: Path) -> None:
        append(Lake(str(folder)), [unsubscribed("ann", SOON)])
        built(Lake(str(folder)), with_inputs("suppression_list"), variables={})

    return copied(made_once(tmp_path_factory, "list-of-one", make), tmp_path / "lake")


def test_the_mark_is_an_hour_before_the_newest_row_that_gold_had_read(lake: Lake) -> None:
    found, mark = exported(lake, Wanted())
    assert (found, mark) == ({"ann@corp.example"}, SOON - timedelta(hours=1))


def test_events_of_last_month_that_were_loaded_today_are_in_the_next_export(lake: Lake) -> None:
    _, mark = exported(lake, Wanted())
    today = SOON + timedelta(hours=5)
    append(lake, [event("unsubscribes", at=NOON - timedelta(days=20), request="b0-y", email="ben@corp.example", received_at=today)])
    built(lake, with_inputs("suppression_list"), variables={})
    assert exported(lake, Wanted(since=mark))[0] == {"ann@corp.example", "ben@corp.example"}  # Ann's hour is not over
    assert exported(lake, Wanted(since=SOON + timedelta(hours=1)))[0] == {"ben@corp.example"}
    assert exported(lake, Wanted(evidence_since=NOON.date()))[0] == {"ann@corp.example"}


def test_rows_that_come_with_a_time_that_the_mark_has_passed_make_the_next_export_whole(lake: Lake) -> None:
    """As where a day of silver is made anew: its rows keep the times at which their messages were received."""
    _, mark = exported(lake, Wanted())
    assert mark is not None
    append(lake, [unsubscribed("ben", SOON - timedelta(days=9))])
    built(lake, with_inputs("suppression_list"), variables={})
    stream = io.StringIO()
    done = export_stream(lake, Wanted(since=mark), stream)
    assert (done.rows, done.is_whole) == (2, True)
    # What comes after goes by the marks again.
    append(lake, [unsubscribed("cat", SOON + timedelta(days=1))])
    built(lake, with_inputs("suppression_list"), variables={})
    _, later = exported(lake, Wanted(since=mark))
    assert exported(lake, Wanted(since=later))[0] == {"cat@corp.example"}


def test_a_definition_that_lists_more_makes_the_next_export_whole(lake: Lake) -> None:
    append(lake, [event("sms_inbounds", request=None, phone="+15550009", received_at=SOON - timedelta(days=3), inbound_message="HALT")])
    built(lake, with_inputs("suppression_list"), variables={})
    found, mark = exported(lake, Wanted())
    assert found == {"ann@corp.example"}
    built(lake, with_inputs("suppression_list"), variables={"sms_stop_words": ["STOP", "HALT"]})
    assert exported(lake, Wanted(since=mark))[0] == {"ann@corp.example", "+15550009"}


def test_the_mark_stays_where_gold_did_not_read_on(lake: Lake) -> None:
    _, mark = exported(lake, Wanted())
    append(lake, [unsubscribed("ben", SOON + timedelta(days=1))])
    # The list alone, over evidence of before: what it would read of silver now it does not have.
    built(lake, ["suppression_list"], full_refresh=True)
    assert exported(lake, Wanted()) == ({"ann@corp.example"}, mark)


# Messages that an id of nobody would merge, and numbers that are one.

# As templates, exports and programs write that there is none.
PLACEHOLDERS: Final = ("null", "NULL", "0", "000", "-", "{00000000-0000-0000-0000-000000000000}", "%%KEY%%", "N/A", "${recipient.id}", "{{id}}", "None", "*|ID|*", "#N/A", "(null)", "#REF!", "#DIV/0!", "1.23E+15", "1,23457e+11", "5E+09", " 1.23E+15 ")  # fmt: skip
REAL_IDS: Final = ("R77", "00017", "a-0", "null-island", "100%", "[x]", "ref!", "1.23E+15-a", "E+15", "1e5", "+15550001")
"""Ids that only look like it."""

SPELLINGS: Final = {
    "+15550001111": "+15550001111",
    "15550001111": "+15550001111",
    "0015550001111": "+15550001111",
    " +1 (555) 000-1111 ": "+15550001111",
    "+1.555.000.1111": "+15550001111",
    "tel:+1-555-000-1111": "+15550001111",
    "\uff0b\uff11\uff15\uff15\uff15\uff10\uff10\uff10\uff11\uff11\uff11\uff11": "+15550001111",
    "\u202a+1\u00a0555\u2011000\u20111111\u202c": "+15550001111",
    # No numbers: a hash, a sender's name, digits too many, none.
    "0BEEC7B5EA3F0FDB": "0beec7b5ea3f0fdb",
    "ACME": "acme",
    "1234567890123456": "1234567890123456",
    "+()": "+()",
}
"""How an address of text messages is written, and what it is compared by."""


PERSON: Final = "m\u00fcller@xn--bcher-kva.example"
ADDRESSES: Final = {
    "m\u00fcller@b\u00fccher.example": PERSON,
    "M\u00dcLLER@B\u00dcCHER.EXAMPLE": PERSON,
    "m\u00fcller@xn--bcher-kva.example": PERSON,
    "mu\u0308ller@bu\u0308cher.example": PERSON,
    "m\u00fcller@b\u00fccher\u3002example": PERSON,
    "pat@gmail.com": "pat@gmail.com",
    " PAT@Gmail.com ": "pat@gmail.com",
    "pat@gmail.com\u00a0": "pat@gmail.com",
    "\u200bpat@gmail.com\ufeff": "pat@gmail.com",
    "pat@gmail.com.": "pat@gmail.com",
    "Pat Doe <pat@gmail.com>": "pat@gmail.com",
    '"Doe, Pat" <Pat@Gmail.com>;': "pat@gmail.com",
    "<pat@gmail.com>": "pat@gmail.com",
    "'pat@gmail.com'": "pat@gmail.com",
    "mailto:pat@gmail.com?subject=x": "pat@gmail.com",
    "pat@gmail.com (Pat)": "pat@gmail.com",
    "pat%40gmail.com": "pat@gmail.com",
    "\uff50\uff41\uff54\uff20\uff47\uff4d\uff41\uff49\uff4c.com": "pat@gmail.com",
    # Others: what a mailbox provider may do with them is not known.
    "p.at@gmail.com": "p.at@gmail.com",
    "pat+news@gmail.com": "pat+news@gmail.com",
    "o'brien@gmail.com": "o'brien@gmail.com",
    "0BEEC7B5EA3F0FDB": "0beec7b5ea3f0fdb",
    "a@x.example, b@x.example": "a@x.example, b@x.example",
}
"""How an e-mail address is written, and what it is compared by."""


def key(address: str, channel: str = "email") -> str:
    return f"{channel}:{hmac.new(PII_KEY.encode(), address.encode(), 'sha256').hexdigest()}"


def addresses(who: str, count: int) -> list[str]:
    return [f"{who}{number}@corp.example" for number in range(count)]


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Messages of jobs that are about one thing each."""
    lake = Lake(str(tmp_path_factory.mktemp("messages") / "lake"))
    made: list[Event] = []
    for nobody in ("null", "shared"):
        *delivered, bounced = addresses(nobody, 4)
        made += [event("deliveries", request=nobody, recipient_id=nobody, email=each) for each in delivered]
        made += [event("bounces", request=nobody, recipient_id=nobody, email=bounced, category_code=10)]
    for job, ids in (("placeholders", PLACEHOLDERS), ("ids", REAL_IDS)):
        made += [
            event("deliveries", request=job, recipient_id=who, email=each) for who, each in zip(ids, addresses(job, len(ids)), strict=True)
        ]
    made += [event("sms_deliveries", request=f"sms-{number:02d}", phone=each) for number, each in enumerate(SPELLINGS)]
    made += [event("opens", request=f"mail-{number:02d}", email=each) for number, each in enumerate(ADDRESSES)]
    # A spreadsheet took the zeros of an id, and wrote it as a number; of another address it may be another's.
    made += [event("deliveries", request="sheet", recipient_id="00123", email="sheet0@corp.example")]
    made += [event("opens", request="sheet", recipient_id=who, email="sheet0@corp.example") for who in ("123", "123.0", "'00123")]
    made += [event("opens", request="sheet", email="Sheet0@corp.example.")]
    made += [event("deliveries", request="sheet", recipient_id=who, email=f"{who}@corp.example") for who in ("00456", "456")]
    # A desk's id has three addresses in all, which ties nobody to it, but in neither job more than two.
    made += [
        event("deliveries", request=job, recipient_id="desk", email=each) for job, each in zip("aab", addresses("desk", 3), strict=True)
    ]
    append(lake, made)
    built(lake, ["message_events", "fct_messages"], variables=FEW_ADDRESSES)
    return table(lake, "fct_messages").select("request_id", "recipient_key", "outcome")


def of_job(messages: pl.DataFrame, job: str) -> dict[str, str]:
    """By recipient: what became of the message."""
    return dict(messages.filter(pl.col("request_id") == job).select("recipient_key", "outcome").rows())


@pytest.mark.parametrize("nobody", ["null", "shared"])
def test_an_id_that_is_nobodys_merges_no_messages(messages: pl.DataFrame, nobody: str) -> None:
    """Three delivered and one bounced for good: under one id they were one message, that bounced."""
    *delivered, bounced = addresses(nobody, 4)
    assert of_job(messages, nobody) == {**dict.fromkeys(map(key, delivered), "delivered"), key(bounced): "bounced"}


def test_every_way_to_write_that_there_is_no_id_is_none(messages: pl.DataFrame) -> None:
    assert set(of_job(messages, "placeholders")) == {key(each) for each in addresses("placeholders", len(PLACEHOLDERS))}
    assert set(of_job(messages, "ids")) == {f"id:{each}" for each in REAL_IDS}


def test_the_ids_of_a_job_are_told_apart_by_what_the_job_knows(messages: pl.DataFrame) -> None:
    assert (set(of_job(messages, "a")), set(of_job(messages, "b"))) == ({"id:desk"}, {"id:desk"})


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_a_phone_number_is_its_digits(messages: pl.DataFrame, spelled: str) -> None:
    job = f"sms-{list(SPELLINGS).index(spelled):02d}"
    assert list(of_job(messages, job)) == [key(SPELLINGS[spelled], "sms")]


@pytest.mark.parametrize("spelled", ADDRESSES)
def test_an_e_mail_address_is_the_persons_however_it_is_written(messages: pl.DataFrame, spelled: str) -> None:
    job = f"mail-{list(ADDRESSES).index(spelled):02d}"
    assert list(of_job(messages, job)) == [key(ADDRESSES[spelled])]


def test_an_id_from_a_spreadsheet_is_that_of_the_job_for_the_same_address(messages: pl.DataFrame) -> None:
    """Delivered as `00123` and opened as `123`, the message was two, one of which nobody had sent."""
    assert of_job(messages, "sheet") == {"id:00123": "delivered", "id:00456": "delivered", "id:456": "delivered"}


def test_a_correlation_id_that_stands_for_nothing_is_none(tmp_path: Path) -> None:
    """Thousands of jobs had the correlation id `null`, and looking for one of the sender's jobs found them all."""
    lake = Lake(str(tmp_path / "lake"))
    append(
        lake, [event("deliveries", request="a", correlation_id="null"), event("opens", 60, request="a", correlation_id="My Job Id: 101010")]
    )
    append(lake, [event("deliveries", request=f"b{number}", correlation_id=each) for number, each in enumerate(PLACEHOLDERS)])
    append(lake, [event("deliveries", request="c", correlation_id=" 00017 ")])
    built(lake, ["dim_jobs"], variables={})
    found = dict(table(lake, "dim_jobs").select("request_id", "correlation_id").rows())
    assert found == {"a": "My Job Id: 101010", "c": " 00017 ", **{f"b{number}": None for number in range(len(PLACEHOLDERS))}}


def test_an_address_with_many_ids_is_told(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    append(lake, [event("deliveries", request="a", recipient_id=f"r{number}", email="desk@corp.example") for number in range(6)])
    append(lake, [event("deliveries", request="a", recipient_id=f"s{number}", email="few@corp.example") for number in range(5)])
    built(lake, ["recipient_addresses"], variables={})
    done = check_tables(lake, "recipient_addresses")
    told = {node.name: node.failures for node in done.nodes.values() if node.status != "pass"}
    assert told == {"recipient_addresses_one_address_has_few_ids": 1}


@given(
    st.sampled_from(["pat", "o'brien", "m\u00fcller", "pat+news", "\u5c71\u7530"]),
    st.sampled_from(["gmail.com", "b\u00fccher.example", "xn--bcher-kva.example", "\u4f8b\u3048.jp"]),
    st.lists(
        st.sampled_from(
            [
                str.upper,
                lambda text: f" {text}\u00a0",
                lambda text: f"\u200b{text}\u2060",
                lambda text: f"{text}.",
                lambda text: f"Pat Doe <{text}>",
                lambda text: f'"a@b, c" <{text}>',
                lambda text: f"<{text}>",
                lambda text: f"{text};",
                lambda text: unicodedata.normalize("NFD", text),
            ]
        ),
        max_size=4,
    ),
)
def test_no_way_to_write_an_address_makes_another_person(local: str, domain: str, ways: list[Callable[[str], str]]) -> None:
    plain = f"{local}@{domain}"
    text = plain
    for way in ways:
        text = text if "<" in text and "<" in way("") else way(text)
    assert canonical_address(text.lower()) == canonical_address(plain)
    assert canonical_address(canonical_address(plain)) == canonical_address(plain)


@given(st.text(max_size=40) | st.text(st.sampled_from("a@.<>()\"' %40,;:\u200b\u00a0xn-\u00fc"), max_size=30))
def test_any_text_has_one_form_and_it_is_its_own(text: str) -> None:
    form = canonical_address(text.lower())
    assert canonical_address(form) in (form, canonical_address(canonical_address(form)))


def test_an_opt_out_that_finds_its_address_late_touches_that_recipients_jobs_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    lake = Lake(str(tmp_path_factory.mktemp("touched") / "lake"))
    append(lake, [mail("x", "a", "ann", None, table_="unsubscribes")])
    append(lake, [event("deliveries", 2 * HOUR, request="b-others", email=f"o{number}@corp.example") for number in range(3)])
    append(lake, [event("deliveries", 2 * HOUR, request="b-by-address", email="ann-x@corp.example")])
    built(lake, with_inputs("suppression_violations"), variables={})
    assert table(lake, "suppression_violations").is_empty()
    append(lake, [mail("x", "c", "ann", "ann", hours=3)])
    built(lake, with_inputs("suppression_violations"), variables={})
    assert sorted(table(lake, "suppression_violations")["request_id"]) == ["b-by-address", "c-x"]
    predicate = str(one_commit(lake, "suppression_violations"))
    assert "b-by-address" in predicate
    assert "b-others" not in predicate


def one_commit(lake: Lake, name: str) -> Any:
    return DeltaTable(lake.uri_of("gold", name)).history(1)[0]["operationParameters"].get("predicate")


def test_whom_an_opt_out_by_id_is_about_says_the_evidence(grown: Grown) -> None:
    row = one(table(grown.lake, "suppression_evidence").filter(pl.col("address") == "ann-byid0@corp.example"))
    assert (row["tied_by"], row["recipient_id"], row["request_id"], row["recipient_key"]) == (
        "recipient_id",
        "ann-byid0",
        "a-byid0",
        "id:ann-byid0",
    )


# The table that only grows.


def pairs(lake: Lake) -> dict[str, datetime]:
    built(lake, ["recipient_addresses"], variables={})
    return dict(table(lake, "recipient_addresses").select("address", "first_received_at").rows())


def test_what_was_known_later_than_it_was_received_is_put_right_and_the_log_names_nobody(tmp_path_factory: pytest.TempPathFactory) -> None:
    lake = Lake(str(tmp_path_factory.mktemp("pairs") / "lake"))
    late, early = SOON, SOON - timedelta(hours=1)
    append(lake, [event("opens", recipient_id=who, email=f"{who}@corp.example", received_at=late) for who in ("ann", "ben")])
    assert pairs(lake) == {"ann@corp.example": late, "ben@corp.example": late}
    files = set(opened(lake).file_uris())
    # A pair that is new is added; nothing is written again, and of what was known nothing comes.
    append(lake, [event("clicks", recipient_id=who, email=f"{who}@corp.example", received_at=late) for who in ("ann", "cat")])
    assert pairs(lake) == {"ann@corp.example": late, "ben@corp.example": late, "cat@corp.example": late}
    assert files < set(opened(lake).file_uris())
    append(lake, [event("clicks", recipient_id="ann", email="ann@corp.example", received_at=early)])
    assert pairs(lake) == {"ann@corp.example": early, "ben@corp.example": late, "cat@corp.example": late}
    assert re.fullmatch(r"bucket = \d+", str(one_commit(lake, "recipient_addresses")))
    # What silver lost is not known any more.
    DeltaTable(lake.uri_of("silver", "clicks")).delete("recipient_id = 'cat'")
    assert pairs(lake) == {"ann@corp.example": early, "ben@corp.example": late}
    # That rows are written again, as by a backfill, changes nothing.
    version = opened(lake).version()
    clicks = DeltaTable(lake.uri_of("silver", "clicks"))
    write_deltalake(clicks, pl.DataFrame(clicks.to_pyarrow_table()).to_arrow(compat_level=pl.CompatLevel.oldest()), mode="overwrite")
    assert pairs(lake) == {"ann@corp.example": early, "ben@corp.example": late}
    assert opened(lake).version() == version


def opened(lake: Lake) -> DeltaTable:
    return DeltaTable(lake.uri_of("gold", "recipient_addresses"))
