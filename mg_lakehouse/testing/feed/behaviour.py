"""What happens to each message of a job, and what its recipient does: the events, before any XML.

Only decisions are made here. How an event is written, and what goes wrong in the writing, is
:mod:`mg_lakehouse.testing.feed.writing`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final
from urllib.parse import quote

from mg_lakehouse.testing.feed.jobs import ACCOUNT_ID, Job
from mg_lakehouse.testing.feed.people import BROWSERS, PREFETCH, SCANNERS, Person, ip_address
from mg_lakehouse.testing.feed.truth import Cell, ErrorEntries

__all__ = ["Happening", "context_request", "inbound_sms", "job_errors", "message", "mobile_app_open"]


@dataclass(slots=True)
class Happening:
    """One event: its element name, its time (UTC, whole milliseconds) and what it says, by silver column."""

    element: str
    at: datetime
    values: dict[str, Cell]


# Category and its code, with details as mail servers give them; {} is the address.
_HARD: Final = (
    ("Invalid Recipient", 10, "550-5.1.1 The email account that you tried to reach <{}> does not exist."),
    ("Invalid Recipient", 10, "550 5.1.1 {}: Recipient address rejected: User unknown"),
    ("Generic Bounce: No RCPT", 30, "550 5.7.1 no such recipient"),
)
_SOFT: Final = (
    ("Soft Bounce", 20, "451 4.3.0 Error: mail system is out of order & will be back"),
    ("DNS Failure", 21, "[internal] no MX or A for domain"),
    ("Mailbox Full", 22, "552-5.2.2 The email account is over quota"),
    ("Too Large", 23, "552 5.3.4 Message size exceeds fixed limit"),
    ("Timeout", 24, "[internal] exceeded time in queue"),
    ("Generic Bounce", 40, "500 unspecified failure"),
    ("Undetermined", 1, "554 «très» désolé"),
)
_BLOCK: Final = (
    ("Mail Block", 50, "554 5.7.1 Message from <{}> rejected for policy reasons"),
    ("Spam Block", 51, "553 5.7.1 [TSS04] Messages temporarily deferred due to user complaints"),
    ("Spam Content", 52, "550 5.7.1 This message scored 7.3 > 5.0"),
    ("Prohibited Attachment", 53, "552 5.7.0 blocked attachment"),
    ("Relay Denied", 54, "550 5.7.1 Unable to relay for {}"),
)
_DEFERRAL: Final = ("Transient Failure", 70, "421 4.7.0 Try again later, closing connection.\n(temporarily delayed)")
_SUPPRESSED: Final = (
    ("Hardbounce Suppression", 130),
    ("Unsubscribe Suppression", 131),
    ("Fbl Suppression", 132),
    ("Complainer Suppression", 133),
    ("Domain Suppression", 134),
    ("Role Suppression", 135),
)
_UNKNOWN: Final = ("Greylist Policy", 99, "450 4.7.1 an answer of a new kind")

_SMS_HARD: Final = ("INVALID_ADDRESS", "The phone number you have attempted to send to is not valid or unrecognizable to our system")
_SMS_BLOCK: Final = (
    ("ADDRESS_BLOCKED", "The message could not be sent from this OriginationNumber to the destination address"),
    ("INVALID_CONTENT", "This content is unable to be sent as an SMS message"),
    (" Address_Blocked", "as another gateway writes it"),
)
_SMS_SOFT: Final = (("SERVICE_FAILURE", "A service-level failure prevented MessageGears from delivering the message"),)
_SMS_REJECTED: Final = (
    ("INTERNATIONAL_SENDING_PROHIBITED", "International message sending is not enabled for your account"),
    ("JOB_CANCELLED", "The job has been cancelled"),
)
_SMS_UNKNOWN: Final = ("CARRIER_VIOLATION", "a reason that the document does not list")

_PUSH_HARD: Final = (
    ("FAILURE_PERMANENT", "An error occurred when delivering the message to the endpoint."),
    ("EXPIRED", "The endpoint address is expired."),
)
_PUSH_SOFT: Final = (
    ("TIMEOUT", "The message couldn\u2019t be sent within the timeout period."),
    ("SERVICE_FAILURE", "A service-level failure prevented MessageGears from delivering the message."),
)
_PUSH_REJECTED: Final = (
    ("DAILY_CAP", "The endpoint has received the maximum number of messages it can receive within a 24-hour period."),
    ("THROTTLED", "MessageGears throttled sending to this endpoint."),
    ("JOB_CANCELLED", "The job has been cancelled"),
)
_PUSH_TRANSIENT: Final = ("TRANSIENT_FAILURE", "A temporary error occurred. MessageGears will attempt to deliver the message again later.")
_PUSH_UNKNOWN: Final = ("QUOTA_EXCEEDED", "a reason that the document does not list")

_RENDER_ERRORS: Final = (
    (
        "Template merge exception",
        "Error on line 1, column 10 in SUBJECT\nExpecting a string, date or number here, Expression Recipient.FirstNamex is instead a freemarker.ext.dom.NodeListModel",
    ),
    ("Template merge exception", 'Error on line 7 in HTML: ${Recipient.Points?number} is "" & <#if> has no end'),
    ("Missing content", "No plain text part"),
)
_JOB_ERRORS: Final = (
    ("Transfer Error", "AmazonClientException retrieving file: s3://bucket.example/recipients.csv - The specified key does not exist."),
    ("Recipient List Error", "Row 1 has 3 columns & the header has 4"),
)
_LINKS: Final = (
    ("https://www.shop.example/", "Home Page", "-1"),
    ("https://www.shop.example/offer?utm_source=mg&utm_medium=email&id=7", "Offer", "offer"),
    ("https://www.shop.example/caf\u00e9?q=1&r=%F0%9F%98%80", "Café ☕", "cafe"),
    ("https://www.shop.example/leave/{}/now?p=a%26b", None, None),  # {} is the address
    ("https://social.example/share?u=1&t=<b>", "Share", "-1"),
)
_STOP: Final = ("STOP", "STOP")
_START: Final = ("START", "START")
_INBOUND: Final = (_STOP, ("STOP", "Stop please \U0001f64f"), ("HELP", "help"), _START, ("KEYWORD", "PIZZA & more"))
_APPLICATION: Final = "12345"
_SENDING_NUMBER: Final = "+12025550100"
_SHORT_CODE: Final = "55501"
_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR


def message(job: Job, recipient: Person, rng: Random) -> Iterator[Happening]:
    """Everything that one recipient's message of a job leads to, in no order; both of its messages where a job has two channels."""
    if job.kind in ("email", "email+push"):
        yield from _Email(job, recipient, rng).events()
    if job.kind == "sms":
        yield from _sms(job, recipient, rng)
    if job.kind in ("push", "email+push"):
        yield from _push(job, recipient, rng)


def job_errors(job: Job, rng: Random) -> Iterator[Happening]:
    """The errors that a job reports, one event each; an event may hold two."""
    for index in range(job.errors):
        entries: ErrorEntries = [{"error_code": code, "error_message": text} for code, text in _JOB_ERRORS[: 1 + index % 2]]
        yield Happening("JobErrorActivity", _later(job.sent_at, 5 + 30 * rng.random()), {**_identifiers(job), "errors": entries})


def context_request(at: datetime, rng: Random, *, job: Job | None = None, recipient: Person | None = None) -> Happening:
    """A request for an Engage record: a hit, or a miss under either of its two names."""
    prefix = rng.choice(("OFFERS", "DEMO2", "PROFILE"))
    values: dict[str, Cell] = {
        **(_identifiers(job) if job else {}),
        "account_id": ACCOUNT_ID,
        "recipient_id": recipient.recipient_id if recipient else None,
        "ip_address": ip_address(rng),
        "vendor": str(rng.randrange(1, 4)),
        "prefix": prefix,
        "record_id": f"{prefix}-{rng.getrandbits(96):024x}",
    }
    at = at.replace(microsecond=0)
    kind = rng.random()
    if kind < 0.1:
        return Happening("ContextMissActivity", at, {**values, "is_inferred": False})
    if kind < 0.2:
        return Happening("ContextHitActivity", at, {**values, "is_inferred": True})
    created = at - timedelta(days=rng.randrange(1, 400), seconds=rng.randrange(86_400))
    values |= {"record_size": rng.randrange(200, 60_000), "created_at": created}
    if kind < 0.95:  # a hit may lack some of what a miss lacks altogether
        values["updated_at"] = created + timedelta(hours=rng.randrange(24))
    return Happening("ContextHitActivity", at, values)


def inbound_sms(at: datetime, recipient: Person, rng: Random, *, said: tuple[str, str] | None = None) -> Happening:
    """A text message that a person sends in, in either of the two vocabularies. It belongs to no job.

    ``said`` are its kind and its text, left out for any.
    """
    kind, text = said or rng.choice(_INBOUND)
    values: dict[str, Cell] = {"sms_address": recipient.phone, "destination_sms_number": _SHORT_CODE, "inbound_message": text}
    if rng.random() < 0.6:
        return Happening("InboundSmsActivity", at, {**values, "inbound_message_type": kind})
    places: dict[str, Cell] = {"from_city": "Springfield", "from_state": "IL", "from_zip": "01234", "from_country": "US"}
    targets: dict[str, Cell] = {"to_city": "Atlanta", "to_state": "GA", "to_zip": "30303", "to_country": "US"}
    return Happening("SmsInboundActivity", at, {**values, **places, **(targets if rng.random() < 0.5 else {})})


def mobile_app_open(at: datetime, recipient: Person) -> Happening:
    """An event of the mobile application: of a kind that no document describes, and of no job."""
    return Happening(
        "MobileAppOpenActivity", at, {"recipient_id": recipient.recipient_id, "DeviceId": recipient.device, "AppVersion": "3.2.1"}
    )


def _later(at: datetime, seconds: float) -> datetime:
    return at + timedelta(milliseconds=round(seconds * 1000))


def _identifiers(job: Job) -> dict[str, Cell]:
    return {
        "account_id": ACCOUNT_ID,
        "request_id": job.request_id,
        "correlation_id": job.correlation_id,
        "job_category": job.job_category,
        "campaign_id": job.campaign_id,
        "campaign_version": job.campaign_version,
    }


def _sent_at(job: Job, rng: Random) -> datetime:
    """When a message leaves. A mail server stamps whole seconds."""
    return _later(job.sent_at, 60 * job.minutes * rng.random()).replace(microsecond=0)


def _render_error_entries(rng: Random) -> ErrorEntries:
    return [{"error_code": code, "error_message": text} for code, text in _RENDER_ERRORS[: rng.choice((1, 1, 2, 3))]]


class _Email:
    """One e-mail message and its recipient's answers."""

    def __init__(self, job: Job, recipient: Person, rng: Random) -> None:
        self._job, self._person, self._rng = job, recipient, rng
        self._common = _identifiers(job)
        self._sent_at = _sent_at(job, rng)

    def events(self) -> Iterator[Happening]:
        job, traits, rng = self._job, self._job.traits, self._rng
        if job.transactional:
            yield self._request()
        if rng.random() < traits.render_error:
            yield self._happening("RenderErrorActivity", self._sent_at, {"errors": _render_error_entries(rng)})
            return
        if self._person.domain in traits.blocked_domains and rng.random() < 0.9:
            yield self._bounce(self._sent_at, rng.choice(_BLOCK[:2]))
            return
        failure = self._failure()
        if failure is not None:
            yield failure
            return
        delivered_at: datetime | None = self._sent_at
        if rng.random() < traits.deferred:
            deferrals, delivered_at = self._deferrals()
            yield from deferrals
        if delivered_at is not None:
            yield from self._arrival(delivered_at)

    def _happening(self, element: str, at: datetime, values: dict[str, Cell]) -> Happening:
        """An event of this message. What identifies the recipient differs from event to event, as it does in feeds."""
        person, rng = self._person, self._rng
        email: str | None = person.email
        recipient_id = person.recipient_id
        luck = rng.random()
        if luck < 0.12:
            recipient_id = None
        elif luck < 0.2 and recipient_id is not None:
            email = None
        elif luck < 0.23:
            email = person.email.upper()
        elif luck < 0.232:
            email = recipient_id = None
        return Happening(element, at, {**self._common, "email_address": email, "recipient_id": recipient_id, **values})

    def _request(self) -> Happening:
        at = _later(self._sent_at, -1 - 4 * self._rng.random())
        record = f"<Recipient><EmailAddress>{self._person.email}</EmailAddress><FirstName>Zoë</FirstName></Recipient>"
        values: dict[str, Cell] = {**self._common, "recipient_id": self._person.recipient_id, "recipient_xml": record}
        if self._rng.random() < 0.3:
            values |= {"context_xml": "<Context><Order no='7'/></Context>", "notification_email_address": "ops@example.com"}
        return Happening("RequestActivity", at, values)

    def _bounce(self, at: datetime, reason: tuple[str, int, str]) -> Happening:
        category, code, details = reason
        values: dict[str, Cell] = {"category": category, "category_code": code, "details": details.format(self._person.email)}
        # MessageGears leaves both out of some bounces.
        if self._rng.random() < 0.7:
            values |= {"ip_address": ip_address(self._rng), "message_size": self._rng.randrange(9_000, 120_000)}
        return self._happening("BouncedMessageActivity", at, values)

    def _failure(self) -> Happening | None:
        """The failure that ends the message, or ``None``. What was never sent has no mail server and no size."""
        traits, rng, at = self._job.traits, self._rng, self._sent_at
        luck = rng.random()
        for probability, reasons in (
            (traits.hard, _HARD),
            (traits.soft, _SOFT),
            (traits.block, _BLOCK),
            (traits.unknown_code, (_UNKNOWN,)),
        ):
            if luck < probability:
                return self._bounce(at, rng.choice(reasons))
            luck -= probability
        if luck < traits.suppressed:
            category, code = rng.choices(_SUPPRESSED, (40, 35, 8, 8, 5, 4))[0]
            return self._happening("BouncedMessageActivity", at, {"category": category, "category_code": code, "details": "Suppressed"})
        luck -= traits.suppressed
        if luck < traits.rejected:
            category, code = rng.choice((("Invalid Email Syntax", 110), ("Admin Failure", 25)))
            return self._happening("BouncedMessageActivity", at, {"category": category, "category_code": code, "details": "Not sent"})
        # Rare shapes: a bounce that names no category, one with a name that the document lacks, one with a name only.
        if luck < traits.rejected + 0.0015:
            shapes: tuple[dict[str, Cell], ...] = (
                {"details": "no reason given"},
                {"category": "Policy Window"},
                {"category": "Mailbox Full"},
            )
            values = rng.choice(shapes)
            return self._happening("BouncedMessageActivity", at, values)
        return None

    def _deferrals(self) -> tuple[list[Happening], datetime | None]:
        """One to three deferrals and the time of the delivery behind them, if there is one."""
        rng, at, events = self._rng, self._sent_at, []
        for _ in range(rng.choice((1, 1, 2, 3))):
            events.append(self._bounce(at, _DEFERRAL))
            at = _later(at, rng.choice((300, 900, 3600, 4 * _HOUR)) + rng.randrange(60))
        luck = rng.random()
        if luck < 0.75:
            return events, at
        if luck < 0.87:
            events.append(self._bounce(_later(self._sent_at, _DAY), rng.choice(_SOFT)))
        return events, None

    def _arrival(self, at: datetime) -> Iterator[Happening]:
        traits, rng = self._job.traits, self._rng
        if rng.random() >= traits.lost_delivery:
            values: dict[str, Cell] = {"ip_address": ip_address(rng), "message_size": rng.randrange(9_000, 120_000)}
            yield self._happening("DeliveredMessageActivity", at, values if rng.random() < 0.9 else {})
            if rng.random() < traits.out_of_band:
                yield from self._out_of_band(at)
                return
        yield from self._engagement(at)

    def _out_of_band(self, at: datetime) -> Iterator[Happening]:
        """A bounce that follows the delivery; one in ten has the delivery's own second and so proves no order."""
        rng = self._rng
        delay = 0.0 if rng.random() < 0.1 else float(rng.randrange(30, 36 * 3600))
        yield self._bounce(_later(at, delay), rng.choice((_HARD[0], _SOFT[2], _BLOCK[0])))
        if rng.random() < 0.15:
            yield self._bounce(_later(at, delay + 7_200), _SOFT[0])

    def _engagement(self, at: datetime) -> Iterator[Happening]:
        traits, rng = self._job.traits, self._rng
        if self._person.domain == "icloud.com" and rng.random() < 0.8:
            yield self._visit("OpenActivity", _later(at, 60 + 7_000 * rng.random()), PREFETCH)
        if self._person.domain == "post.example.org" and rng.random() < 0.5:
            yield from self._scanner(at)
        if rng.random() < traits.open:
            yield from self._reading(at)
        if rng.random() < traits.complaint:
            complained_at = _later(at, rng.lognormvariate(9, 1.2))
            values: dict[str, Cell] = {"isp": self._person.domain}
            if rng.random() < 0.4:
                values |= {"subject": "Don\u2019t miss <this> & that \U0001f381", "ip_address": ip_address(rng)}
            yield self._happening("SpamComplaintActivity", complained_at, values)

    def _reading(self, at: datetime) -> Iterator[Happening]:
        """Opens, perhaps again and again, then clicks: minutes after the delivery, hours, or now and then weeks."""
        traits, rng = self._job.traits, self._rng
        browser = rng.choice(BROWSERS)
        delay = rng.lognormvariate(8.6, 1.6)
        opened_at = _later(at, delay)
        for repeat in range(rng.choice((1, 1, 1, 2, 3))):
            yield self._visit("OpenActivity", _later(opened_at, repeat * _DAY * rng.random()), browser if rng.random() > 0.01 else None)
        if rng.random() < 0.04:
            yield context_request(opened_at, rng, job=self._job, recipient=self._person)
        if rng.random() < traits.click / max(traits.open, 0.01):
            for _ in range(rng.choice((1, 1, 2))):
                wait = rng.uniform(14, 32) * _DAY if rng.random() < 0.03 else rng.uniform(3, 300)
                yield self._click(_later(opened_at, wait), rng.choice(_LINKS), browser)
        if rng.random() < traits.unsubscribe / max(traits.open, 0.01):
            yield self._visit("UnsubActivity", _later(opened_at, rng.uniform(5, 90)), browser)
        if rng.random() < 0.004:
            yield self._reply(_later(opened_at, rng.uniform(60, 9_000)))

    def _scanner(self, at: datetime) -> Iterator[Happening]:
        """A security scanner: it follows links at once, many together, or says who it is."""
        rng = self._rng
        kind = rng.randrange(4)
        if kind == 0:
            yield self._click(_later(at, rng.uniform(0.2, 2.9)), rng.choice(_LINKS), BROWSERS[1])
        elif kind == 1:
            yield self._click(_later(at, 3.0), rng.choice(_LINKS), BROWSERS[1])
        elif kind == 2:
            begin = rng.uniform(30, 300)
            for offset, link in enumerate(_LINKS[: rng.choice((2, 3, 4))]):
                yield self._click(_later(at, begin + 0.4 * offset), link, BROWSERS[1])
        else:
            yield self._click(_later(at, rng.uniform(20, 600)), rng.choice(_LINKS), rng.choice(SCANNERS))

    def _visit(self, element: str, at: datetime, user_agent: str | None, extra: dict[str, Cell] | None = None) -> Happening:
        rng = self._rng
        values: dict[str, Cell] = {"user_agent": user_agent, "ip_address": ip_address(rng), **(extra or {})}
        luck = rng.random()
        if luck < 0.3:
            values["is_microsite"] = luck < 0.05
        if luck > 0.997:
            # Some events of a feed belong to no job.
            self_made = self._happening(element, at, values)
            self_made.values |= {"request_id": None, "correlation_id": None, "campaign_id": None, "campaign_version": None}
            return self_made
        return self._happening(element, at, values)

    def _click(self, at: datetime, link: tuple[str, str | None, str | None], user_agent: str) -> Happening:
        url, name, link_id = link
        url = url.format(quote(self._person.email))
        return self._visit("ClickActivity", at, user_agent, {"url": url, "url_name": name, "url_id": link_id})

    def _reply(self, at: datetime) -> Happening:
        values: dict[str, Cell] = {
            "ip_address": ip_address(self._rng),
            "classification": self._rng.choice(("AUTO_REPLY", "HUMAN")),
            "content_id": f"{self._rng.getrandbits(64):016x}",
            "content": "I'm away until Monday.\n> <p>Hello</p> & goodbye",
        }
        if self._rng.random() < 0.5:
            values |= {"mail_from": self._person.email, "subject": "Re: été"}
        return self._happening("InboundEmailActivity", at, values)


def _sms(job: Job, recipient: Person, rng: Random) -> Iterator[Happening]:
    """One text message. Each event is in one of the two vocabularies, which know different things."""
    at, traits = _sent_at(job, rng), job.traits
    common: dict[str, Cell] = {
        **_identifiers(job),
        "sms_address": recipient.phone,
        "recipient_id": recipient.recipient_id if rng.random() < 0.7 else None,
    }
    if rng.random() < max(traits.render_error, 0.01):
        element = rng.choice(("RenderErrorSmsActivity", "SmsRenderErrorActivity"))
        yield Happening(element, at, {**common, "errors": _render_error_entries(rng)})
        return
    luck = rng.random()
    failures = (
        (traits.hard, (_SMS_HARD,)),
        (traits.block, _SMS_BLOCK),
        (traits.soft, _SMS_SOFT),
        (0.01, _SMS_REJECTED),
        (0.003, (_SMS_UNKNOWN,)),
    )
    for probability, reasons in failures:
        if luck < probability:
            category, details = rng.choice(reasons)
            yield _sms_failure(common, at, category.strip(), details, rng)
            return
        luck -= probability
    if rng.random() < 0.5:
        yield Happening("DeliveredSmsActivity", at, common)
    else:
        yield Happening("SmsDeliveredActivity", at, {**common, "sending_sms_number": _SENDING_NUMBER})
    if rng.random() < 0.03:
        yield inbound_sms(_later(at, rng.lognormvariate(6, 1)), recipient, rng)
    if rng.random() < 0.01:
        yield from _second_thoughts(at, recipient, rng)
    if rng.random() < 0.05:
        clicked = {**_identifiers(job), "recipient_id": recipient.recipient_id, "SmsAddress": recipient.phone, "Url": _LINKS[1][0]}
        yield Happening("SmsClickActivity", _later(at, rng.lognormvariate(6, 1)), clicked)


def _second_thoughts(at: datetime, recipient: Person, rng: Random) -> Iterator[Happening]:
    """Somebody who wants no more text messages, then wants them again, and may have enough of them after all."""
    for said in (_STOP, _START, _STOP)[: rng.choice((2, 2, 3))]:
        at = _later(at, 60 + rng.lognormvariate(9, 1))
        yield inbound_sms(at, recipient, rng, said=said)


def _sms_failure(common: dict[str, Cell], at: datetime, category: str, details: str, rng: Random) -> Happening:
    luck = rng.random()
    if luck < 0.55:
        return Happening("BouncedSmsActivity", at, {**common, "category": category, "details": details})
    codes: dict[str, Cell] = {"category_code": 400 + len(category), "sending_sms_number": _SENDING_NUMBER}
    # The vendor's schema requires a category; a gateway's may give its number alone.
    return Happening("SmsDeliveryFailureActivity", at, {**common, **codes, "category": category if luck < 0.97 else None})


def _push(job: Job, recipient: Person, rng: Random) -> Iterator[Happening]:
    """One push message; a temporary failure may still be followed by a delivery."""
    at, traits = _sent_at(job, rng), job.traits
    common: dict[str, Cell] = {
        **_identifiers(job),
        "device_id": recipient.device,
        "service": recipient.service if rng.random() < 0.99 else None,
        "application_id": _APPLICATION,
        "recipient_id": recipient.recipient_id if rng.random() < 0.5 else None,
    }
    service: dict[str, Cell] = {"push_delivery_service": "AWS Pinpoint"}

    def failure(when: datetime, reason: tuple[str, str]) -> Happening:
        category, details = reason
        return Happening("BouncedMobilePushActivity", when, {**common, **service, "category": category, "details": details})

    if rng.random() < max(traits.render_error, 0.01):
        yield Happening("RenderErrorMobilePushActivity", at, {**common, "errors": _render_error_entries(rng)})
        return
    luck = rng.random()
    for probability, reasons in ((traits.hard, _PUSH_HARD), (traits.soft, _PUSH_SOFT), (0.015, _PUSH_REJECTED), (0.003, (_PUSH_UNKNOWN,))):
        if luck < probability:
            yield failure(at, rng.choice(reasons))
            return
        luck -= probability
    if rng.random() < 0.05:
        yield failure(at, _PUSH_TRANSIENT)
        if rng.random() < 0.4:
            return
        at = _later(at, 600 + rng.randrange(600))
    yield Happening("DeliveredMobilePushActivity", at, {**common, **service})
    if rng.random() < 0.08:
        clicked = {**_identifiers(job), "recipient_id": recipient.recipient_id, "DeviceId": recipient.device, "ApplicationId": _APPLICATION}
        yield Happening("MobilePushClickActivity", _later(at, rng.lognormvariate(6, 1)), clicked)
