"""What mail is opened and clicked with, day by day: each number reckoned by hand."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import NOON, Event, append, build, event, one, table

DAY: Final = 86_400
TODAY: Final = NOON.date()
TOMORROW: Final = TODAY + timedelta(days=1)
IPHONE: Final = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
GMAIL: Final = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
OUTLOOK: Final = "Outlook-iOS/723.4027091.prod.iphone (4.28.0)"


def mail(name: str, seconds: float, user_agent: str | None, **values: Any) -> Event:
    return event(name, seconds, user_agent=user_agent, **({"request": "b45-job", "recipient_id": "1"} | values))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("clients") / "lake"))
    feed = [
        mail("opens", 10, "Mozilla/5.0"),
        mail("opens", 20, IPHONE),
        # The same client, in another text and of another job.
        mail("opens", 30, f" {IPHONE} ", request="b45-other"),
        mail("opens", 40, GMAIL),
        mail("opens", 50, None, request=None),
        mail("clicks", 60, IPHONE, url="u"),
        mail("clicks", 90, "Mozilla/5.0 (compatible; Barracuda Sentinel)", url="u"),
        # Opened tomorrow, though the message began today; nothing is clicked then.
        mail("opens", DAY, OUTLOOK),
        event("deliveries", request="b45-unread", recipient_id="9"),
    ]
    append(lake, feed)
    build(lake, select="client_metrics_daily", data_tests=True)
    return lake


def of_device(lake: Lake, device: str, day: date = TODAY) -> dict[str, Any]:
    return one(table(lake, "client_metrics_daily"), event_date=day, device=device)


COUNTS: Final = ("open_events", "human_open_events", "click_events", "human_click_events", "share_of_opens", "share_of_clicks")


@pytest.mark.parametrize(
    ("device", "client", "system", "counts"),
    [
        ("prefetch", "Apple Mail prefetch", "unknown", (1, 0, 0, 0, 1 / 5, 0.0)),
        ("mobile", "Mobile Safari UI/WKWebView", "iOS", (2, 2, 1, 1, 2 / 5, 1 / 2)),
        ("image_proxy", "GoogleImageProxy", "unknown", (1, 1, 0, 0, 1 / 5, 0.0)),
        ("unknown", "unknown", "unknown", (1, 1, 0, 0, 1 / 5, 0.0)),
        ("bot", "unknown", "unknown", (0, 0, 1, 0, 0.0, 1 / 2)),
    ],
)
def test_each_client_has_its_part_of_the_day(lake: Lake, device: str, client: str, system: str, counts: tuple[float, ...]) -> None:
    row = of_device(lake, device)
    assert (row["channel"], row["client"], row["os"]) == ("email", client, system)
    assert tuple(row[name] for name in COUNTS) == counts


def test_an_event_counts_on_its_own_day_and_a_day_without_clicks_has_no_share_of_them(lake: Lake) -> None:
    row = of_device(lake, "mobile", TOMORROW)
    assert (row["client"], row["open_events"], row["share_of_opens"], row["share_of_clicks"]) == ("Outlook-iOS", 1, 1.0, None)
    assert table(lake, "client_metrics_daily").height == 6


def test_the_days_of_a_job_are_kept_apart(lake: Lake) -> None:
    days = table(lake, "client_days")
    assert one(days, request_id="b45-other")["open_events"] == 1
    assert one(days, request_id=None)["device"] == "unknown"
    assert "b45-unread" not in days["request_id"].to_list()
