"""What user agents of mail clients, browsers, proxies and machines are taken for."""

from __future__ import annotations

import duckdb
import pytest

from mg_lakehouse.gold.user_agents import DEVICES, UNKNOWN, parse, register

GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"


@pytest.mark.parametrize(
    ("text", "device", "client", "system"),
    [
        (GMAIL, "image_proxy", "GoogleImageProxy", UNKNOWN),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "image_proxy", "YahooMailProxy", UNKNOWN),
        (" Mozilla/5.0 ", "prefetch", "Apple Mail prefetch", UNKNOWN),
        (IPHONE, "mobile", "Mobile Safari UI/WKWebView", "iOS"),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
            "tablet",
            "Mobile Safari",
            "iOS",
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)", "desktop", "Apple Mail", "Mac OS X"),
        (
            "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; Microsoft Outlook 16.0.4266; ms-office; MSOffice 16)",
            "desktop",
            "Outlook",
            "Windows",
        ),
        ("Outlook-iOS/723.4027091.prod.iphone (4.28.0)", "mobile", "Outlook-iOS", "iOS"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Thunderbird/115.9.0", "desktop", "Thunderbird", "Linux"),
        (
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
            "mobile",
            "Chrome Mobile",
            "Android",
        ),
        (
            "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
            "tablet",
            "Chrome",
            "Android",
        ),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "bot", "bingbot", UNKNOWN),
        ("Mozilla/5.0 (compatible; BarracudaCentral)", "bot", UNKNOWN, UNKNOWN),
        ("curl/8.5.0", "bot", "curl", UNKNOWN),
        ("a browser", UNKNOWN, UNKNOWN, UNKNOWN),
        (None, UNKNOWN, UNKNOWN, UNKNOWN),
        ("  ", UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_a_text_says_what_the_event_came_from(text: str | None, device: str, client: str, system: str) -> None:
    assert parse(text) == (device, client, system)
    assert device in DEVICES


def test_what_stands_after_a_thousand_characters_is_not_read() -> None:
    assert parse("x" * 1_000 + GMAIL) == (UNKNOWN, UNKNOWN, UNKNOWN)
    assert parse(IPHONE + " " * 10_000_000 + GMAIL).device == "mobile"


@pytest.mark.parametrize("text", ["(" * 1_000, "\x00\ud83d" + "Mozilla/5.0 (" * 99, "a" * 999 + "bot/1", "a@b.example-bot/1 (+http://x)"])
def test_a_hostile_text_gives_no_long_name_and_no_address(text: str) -> None:
    parsed = parse(text)
    assert parsed.device in DEVICES
    assert all(len(each) <= 60 and "@" not in each for each in parsed)


def test_sql_parses_chunks_with_nulls_and_repeats() -> None:
    with duckdb.connect() as connection:
        register(connection)
        connection.execute(
            "create table texts as select case i % 3 when 0 then null when 1 then ? else ? end as t from range(9000) r(i)", [GMAIL, IPHONE]
        )
        rows = (
            connection.cursor()
            .execute("select t, count(*), parse_user_agent(t) as p, parse_user_agent(t).device from texts group by t order by t nulls last")
            .fetchall()
        )
        by_chunk = connection.execute("select parse_user_agent(t).client as c, count(*) from texts group by c order by c").fetchall()
        assert connection.execute("select parse_user_agent(t) from texts where false").fetchall() == []
    assert [(count, device) for _, count, _, device in rows] == [(3_000, "image_proxy"), (3_000, "mobile"), (3_000, UNKNOWN)]
    assert rows[2][2] == {"device": UNKNOWN, "client": UNKNOWN, "os": UNKNOWN}
    assert by_chunk == [("GoogleImageProxy", 3_000), ("Mobile Safari UI/WKWebView", 3_000), (UNKNOWN, 3_000)]
