"""How the vendor writes each event: its elements in their documented order, and what each of them says.

From MessageGears' "Real-Time Event Feed" document (v3.1) and the schema in its public Java SDK. Written apart from
the package's catalogue on purpose: the two must agree, and a test says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["COLUMNS", "EMAIL_ELEMENTS", "UNRECOGNIZED", "WIRES", "Version", "Wire", "wire_of"]

Version = Literal["none", "3.0", "3.1", "3.2"]
"""Version of the feed, as its namespace says; ``none`` is the document's samples, without one."""

UNRECOGNIZED: Final = "unrecognized_activities"

COMMON: Final = (
    ("RequestId", "request_id"),
    ("CorrelationId", "correlation_id"),
    ("ActivityId", "activity_id"),
    ("AccountId", "account_id"),
    ("RecipientId", "recipient_id"),
    ("Timestamp", "event_at"),
    ("JobCategory", "job_category"),
    ("CampaignId", "campaign_id"),
    ("CampaignVersion", "campaign_version"),
)
_EMAIL: Final = (("EmailAddress", "email_address"),)
_VISIT: Final = (*_EMAIL, ("IpAddress", "ip_address"), ("UserAgent", "user_agent"), ("Microsite", "is_microsite"))
_HANDED_OVER: Final = (("IpAddress", "ip_address"), ("MessageSize", "message_size"))
_FAILURE: Final = (("Category", "category"), ("CategoryCode", "category_code"), ("Details", "details"))
_DEVICE: Final = (("DeviceId", "device_id"), ("Service", "service"), ("ApplicationId", "application_id"))
_RENDER_ERRORS: Final = (("RenderErrors", "errors"),)
_PUSH_SERVICE: Final = (("PushDeliveryService", "push_delivery_service"),)
_SMS: Final = (("SmsAddress", "sms_address"),)
_SENDING_NUMBER: Final = (("SendingSmsNumber", "sending_sms_number"),)
_PLACES: Final = tuple(
    (f"{side}{part}", f"{side.lower()}_{part.lower()}") for side in ("From", "To") for part in ("City", "State", "Zip", "Country")
)
_CONTEXT: Final = (("IpAddress", "ip_address"), ("Vendor", "vendor"), ("Prefix", "prefix"), ("RecordId", "record_id"))


@dataclass(frozen=True, slots=True)
class Wire:
    """One element: the table that its items belong to and its children, each with the column that it fills."""

    table: str
    children: tuple[tuple[str, str], ...]


def _wire(table: str, *children: tuple[tuple[str, str], ...]) -> Wire:
    return Wire(table, (*COMMON, *(child for group in children for child in group)))


WIRES: Final[dict[str, Wire]] = {
    "OpenActivity": _wire("opens", _VISIT),
    "ClickActivity": _wire("clicks", _VISIT, (("Url", "url"), ("UrlName", "url_name"), ("UrlId", "url_id"))),
    "UnsubActivity": _wire("unsubscribes", _VISIT),
    "DeliveredMessageActivity": _wire("deliveries", _EMAIL, _HANDED_OVER),
    "BouncedMessageActivity": _wire("bounces", _EMAIL, _FAILURE, _HANDED_OVER),
    "SpamComplaintActivity": _wire("spam_complaints", _EMAIL, (("Isp", "isp"), ("IpAddress", "ip_address"), ("Subject", "subject"))),
    "RenderErrorActivity": _wire("render_errors", _EMAIL, _RENDER_ERRORS),
    "JobErrorActivity": _wire("job_errors", (("JobError", "errors"),)),
    "DeliveredMobilePushActivity": _wire("mobile_push_deliveries", _DEVICE, _PUSH_SERVICE),
    "BouncedMobilePushActivity": _wire("mobile_push_delivery_failures", _DEVICE, _FAILURE, _PUSH_SERVICE),
    "RenderErrorMobilePushActivity": _wire("mobile_push_render_errors", _DEVICE, _RENDER_ERRORS),
    "DeliveredSmsActivity": _wire("sms_deliveries", _SMS),
    "SmsDeliveredActivity": _wire("sms_deliveries", _SMS, _SENDING_NUMBER),
    "BouncedSmsActivity": _wire("sms_delivery_failures", _SMS, _FAILURE),
    "SmsDeliveryFailureActivity": _wire("sms_delivery_failures", _SMS, _FAILURE, _SENDING_NUMBER),
    "RenderErrorSmsActivity": _wire("sms_render_errors", _SMS, _RENDER_ERRORS),
    "SmsRenderErrorActivity": _wire("sms_render_errors", _SMS, _RENDER_ERRORS),
    "InboundSmsActivity": _wire(
        "sms_inbounds",
        _SMS,
        (("To", "destination_sms_number"), ("InboundMessageType", "inbound_message_type"), ("InboundMessage", "inbound_message")),
    ),
    "SmsInboundActivity": _wire(
        "sms_inbounds",
        (("SendingSmsNumber", "sms_address"), ("DestinationSmsNumber", "destination_sms_number"), ("SmsBody", "inbound_message")),
        _PLACES,
    ),
    "ContextHitActivity": _wire(
        "context_hits", _CONTEXT, (("RecordSize", "record_size"), ("CreateTimestamp", "created_at"), ("UpdateTimestamp", "updated_at"))
    ),
    "ContextMissActivity": _wire("context_misses", _CONTEXT),
    "InboundEmailActivity": _wire(
        "inbound_emails",
        _EMAIL,
        (
            ("IpAddress", "ip_address"),
            ("MailFrom", "mail_from"),
            ("Subject", "subject"),
            ("Classification", "classification"),
            ("ContentId", "content_id"),
            ("Content", "content"),
        ),
    ),
    "RequestActivity": _wire(
        "requests",
        (("NotificationEmailAddress", "notification_email_address"), ("RecipientXml", "recipient_xml"), ("ContextXml", "context_xml")),
    ),
}

EMAIL_ELEMENTS: Final = frozenset(
    (
        "OpenActivity",
        "ClickActivity",
        "UnsubActivity",
        "DeliveredMessageActivity",
        "BouncedMessageActivity",
        "SpamComplaintActivity",
        "RenderErrorActivity",
        "JobErrorActivity",
    )
)
"""The elements that a 3.0 feed knows."""

_DERIVED: Final = {"context_misses": ("is_inferred",), UNRECOGNIZED: ("element", "item_xml")}


def wire_of(element: str) -> Wire:
    """The wire of an element; that of an unknown one has the common children only."""
    return WIRES.get(element) or Wire(UNRECOGNIZED, COMMON)


def _columns() -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {UNRECOGNIZED: {}}
    for wire in WIRES.values():
        found.setdefault(wire.table, {}).update((column, None) for _, column in wire.children)
    common = ("event_date", "utc_offset_minutes", *(column for _, column in COMMON))
    return {table: (*dict.fromkeys((*common, *columns, *_DERIVED.get(table, ()), "_rescued_data")),) for table, columns in found.items()}


COLUMNS: Final[dict[str, tuple[str, ...]]] = _columns()
"""The columns of each table that a row of the truth has."""
