"""The catalogue of events: every event type, its elements and its columns, declared once.

Parsing, silver schemas, Dagster asset specs and column tags are derived from :data:`EVENTS`, so a new event type is one
entry here. dbt's sources and the pages are generated from it (``docs/new-event-type.md``). No other module may name an event type. The contract grows and does not change: users query column names and types. An existing table gets a new column at
its end (:meth:`mg_lakehouse.lake.lake.Lake.ensure`).

Sources: MessageGears' "Real-Time Event Feed" document (v3.1), and, for elements the document does
not show, the schema in its public Java SDK.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

__all__ = [
    "COMMON_COLUMNS",
    "EVENTS",
    "LINEAGE_COLUMNS",
    "REJECTED_ITEMS",
    "REJECTED_ITEMS_COLUMNS",
    "SET_ASIDE",
    "UNNAMED_ACTIVITY_TYPES",
    "UNRECOGNIZED",
    "Column",
    "ColumnType",
    "Event",
    "Reclassification",
    "activity_types",
    "columns_of",
    "event_of_element",
    "event_of_table",
    "silver_tables",
    "table_of_activity_type",
]

ColumnType = Literal["string", "int", "timestamp", "date", "bool", "errors"]
"""``int`` is 64-bit; ``timestamp`` is microseconds in UTC; ``errors`` is
``list<struct<error_code: string, error_message: string>>``."""

Channel = Literal["email", "sms", "push"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a silver table.

    ``elements`` are the child elements that fill it, by local name: the first one present wins. A
    path ``A/B`` reads the ``B`` children of ``A``. A column without elements is derived.
    """

    name: str
    type: ColumnType
    description: str
    elements: tuple[str, ...] = ()
    pii: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Reclassification:
    """Items that have none of the ``without`` children belong to ``table`` instead."""

    table: str
    without: frozenset[str]


@dataclass(frozen=True, slots=True)
class Event:
    """One event type: the silver table it fills and how.

    ``activity_type`` is its name in the AccountActivity API, if it has one. ``channel`` is the
    kind of message it belongs to, ``None`` if it belongs to no single message.
    """

    table: str
    elements: tuple[str, ...]
    description: str
    columns: tuple[Column, ...]
    channel: Channel | None = None
    activity_type: str | None = None
    reclassify: Reclassification | None = None


COMMON_COLUMNS: tuple[Column, ...] = (
    Column(
        "activity_id",
        "string",
        "Unique id of the activity. Where the feed has none (version 3.0), `sha256:` and a hash of the table and the item's canonical content.",
        ("ActivityId",),
        required=True,
    ),
    Column("event_at", "timestamp", "When the event occurred, in UTC.", ("Timestamp",), required=True),
    Column("event_date", "date", "UTC date of `event_at`."),
    Column(
        "utc_offset_minutes",
        "int",
        "UTC offset written in the event's timestamp, in minutes; null where none was written, which is read as UTC.",
    ),
    Column("account_id", "string", "MessageGears account of the event.", ("AccountId",)),
    Column("request_id", "string", "MessageGears' id of the job (bulk or transactional) that the event belongs to.", ("RequestId",)),
    Column("correlation_id", "string", "The sender's own job id, given when the job was invoked.", ("CorrelationId",)),
    Column("recipient_id", "string", "The sender's own key of the recipient, given in the recipient data.", ("RecipientId",)),
    Column("job_category", "string", "Category that the sender gave the job.", ("JobCategory",)),
    Column("campaign_id", "string", "Campaign of the event, if any.", ("CampaignId",)),
    Column("campaign_version", "string", "Version of that campaign.", ("CampaignVersion",)),
)

LINEAGE_COLUMNS: tuple[Column, ...] = (
    Column(
        "_rescued_data",
        "string",
        "JSON object of the child elements that no column took, by local name; null when there is none.",
        pii=True,
    ),
    Column("source", "string", "Bronze table that the row came from: `event_feed`, `account_activity` or `loaded_files`."),
    Column("message_id", "string", "Key of the bronze row that the item came in."),
    Column("item_index", "int", "Position of the item in its bundle, from 0."),
    Column("received_at", "timestamp", "When the bronze row was received, in UTC."),
    Column("received_date", "date", "UTC date of `received_at`; the partition column."),
)

_EMAIL = Column("email_address", "string", "E-mail address of the recipient; a sender may have it hashed.", ("EmailAddress",), pii=True)
_ENGAGEMENT: tuple[Column, ...] = (
    _EMAIL,
    Column("ip_address", "string", "IP address that the event came from.", ("IpAddress",), pii=True),
    Column("user_agent", "string", "Browser or e-mail client that the event came from.", ("UserAgent",)),
    Column("is_microsite", "bool", "True where the event came from the hosted version of the message.", ("Microsite",)),
)
_MX = Column("ip_address", "string", "IP address of the receiving mail server.", ("IpAddress",))
_SIZE = Column("message_size", "int", "Size of the message in bytes.", ("MessageSize",))
_CATEGORY = Column("category", "string", "Category of the failure.", ("Category",))
_CODE = Column("category_code", "int", "Code that identifies the category of the failure.", ("CategoryCode",))
_DETAILS = Column("details", "string", "Explanation of the failure.", ("Details",))
_RENDER_ERRORS = Column("errors", "errors", "The errors that kept the message from being rendered.", ("RenderErrors/RenderError",))
_DEVICE: tuple[Column, ...] = (
    Column("device_id", "string", "Push token of the device.", ("DeviceId",), pii=True),
    Column("service", "string", "Push service of the device, such as APNS or FCM.", ("Service",)),
    Column("application_id", "string", "Mobile application that the push was sent to.", ("ApplicationId",)),
)
_PUSH_SERVICE = Column("push_delivery_service", "string", "Service that handed the push over.", ("PushDeliveryService",))
_SMS_ADDRESS = Column("sms_address", "string", "Phone number of the recipient.", ("SmsAddress",), pii=True)
_SENDING_NUMBER = Column("sending_sms_number", "string", "Number that the message was sent from.", ("SendingSmsNumber",))
_CONTEXT: tuple[Column, ...] = (
    Column("ip_address", "string", "IP address that the record was requested from.", ("IpAddress",), pii=True),
    Column("vendor", "string", "Vendor code of the Engage request.", ("Vendor",)),
    Column("prefix", "string", "Data source of the record.", ("Prefix",)),
    Column("record_id", "string", "Key of the record that was requested.", ("RecordId",)),
)

EVENTS: tuple[Event, ...] = (
    Event("opens", ("OpenActivity",), "A recipient opened an e-mail.", _ENGAGEMENT, "email", "OPENS"),
    Event(
        "clicks",
        ("ClickActivity",),
        "A recipient clicked a tracked link of an e-mail.",
        (
            *_ENGAGEMENT,
            Column("url", "string", "Address of the clicked link, query string included.", ("Url",), pii=True),
            Column("url_name", "string", "Name that the template gave the link.", ("UrlName",)),
            Column("url_id", "string", "Id that the template gave the link; `-1` where it gave none.", ("UrlId",)),
        ),
        "email",
        "CLICKS",
    ),
    Event(
        "unsubscribes",
        ("UnsubActivity",),
        "A recipient unsubscribed through a MessageGears link or a List-Unsubscribe header.",
        _ENGAGEMENT,
        "email",
        "UNSUBSCRIBES",
    ),
    Event(
        "deliveries",
        ("DeliveredMessageActivity",),
        "A receiving mail server accepted an e-mail.",
        (_EMAIL, _MX, _SIZE),
        "email",
        "DELIVERIES",
    ),
    Event(
        "bounces",
        ("BouncedMessageActivity",),
        "An e-mail was refused, deferred, or suppressed before it was sent; `category_code` says which.",
        (
            _EMAIL,
            _MX,
            _SIZE,
            _CATEGORY,
            _CODE,
            Column("details", "string", "Answer of the receiving mail server; often quotes the address.", ("Details",), pii=True),
        ),
        "email",
        "BOUNCES",
    ),
    Event(
        "spam_complaints",
        ("SpamComplaintActivity",),
        "A recipient reported an e-mail as spam.",
        (
            _EMAIL,
            Column("ip_address", "string", "IP address given in the complaint.", ("IpAddress",)),
            Column("isp", "string", "Domain of the recipient's address.", ("Isp",)),
            Column("subject", "string", "Subject of the message complained about.", ("Subject",), pii=True),
        ),
        "email",
        "SPAM_COMPLAINTS",
    ),
    Event(
        "render_errors",
        ("RenderErrorActivity",),
        "An e-mail could not be rendered and was not sent.",
        (_EMAIL, _RENDER_ERRORS),
        "email",
        "RENDER_ERRORS",
    ),
    Event(
        "job_errors",
        ("JobErrorActivity",),
        "A job failed to be processed.",
        (Column("errors", "errors", "The errors that the job ended with.", ("JobError",)),),
        None,
        "JOB_ERRORS",
    ),
    Event(
        "mobile_push_deliveries",
        ("DeliveredMobilePushActivity",),
        "A push message was handed to the device's push service.",
        (*_DEVICE, _PUSH_SERVICE),
        "push",
        "MOBILE_PUSH_DELIVERIES",
    ),
    Event(
        "mobile_push_delivery_failures",
        ("BouncedMobilePushActivity",),
        "A push message could not be delivered; `category` says why.",
        (*_DEVICE, _PUSH_SERVICE, _CATEGORY, _CODE, _DETAILS),
        "push",
        "MOBILE_PUSH_DELIVERY_FAILURES",
    ),
    Event(
        "mobile_push_render_errors",
        ("RenderErrorMobilePushActivity",),
        "A push message could not be rendered and was not sent.",
        (*_DEVICE, _RENDER_ERRORS),
        "push",
        "MOBILE_PUSH_RENDER_ERRORS",
    ),
    Event(
        "sms_deliveries",
        ("DeliveredSmsActivity", "SmsDeliveredActivity"),
        "A text message was delivered.",
        (_SMS_ADDRESS, _SENDING_NUMBER),
        "sms",
        "SMS_DELIVERIES",
    ),
    Event(
        "sms_delivery_failures",
        ("BouncedSmsActivity", "SmsDeliveryFailureActivity"),
        "A text message could not be delivered; `category` says why.",
        (_SMS_ADDRESS, _SENDING_NUMBER, _CATEGORY, _CODE, _DETAILS),
        "sms",
        "SMS_DELIVERY_FAILURES",
    ),
    Event(
        "sms_render_errors",
        ("RenderErrorSmsActivity", "SmsRenderErrorActivity"),
        "A text message could not be rendered and was not sent.",
        (_SMS_ADDRESS, _RENDER_ERRORS),
        "sms",
        "SMS_RENDER_ERRORS",
    ),
    Event(
        "sms_inbounds",
        ("InboundSmsActivity", "SmsInboundActivity"),
        "A person sent a text message in, such as STOP or HELP. It belongs to no job.",
        (
            Column("sms_address", "string", "Phone number of the person who wrote.", ("SmsAddress", "SendingSmsNumber"), pii=True),
            Column("destination_sms_number", "string", "Number that was written to.", ("To", "DestinationSmsNumber")),
            Column("inbound_message_type", "string", "Kind of message, such as STOP, HELP or a keyword.", ("InboundMessageType",)),
            Column("inbound_message", "string", "Text of the message.", ("InboundMessage", "SmsBody"), pii=True),
            Column("from_city", "string", "City of the person who wrote, as the carrier knows it.", ("FromCity",)),
            Column("from_state", "string", "State of the person who wrote.", ("FromState",)),
            Column("from_zip", "string", "Postal code of the person who wrote.", ("FromZip",)),
            Column("from_country", "string", "Country of the person who wrote.", ("FromCountry",)),
            Column("to_city", "string", "City of the number that was written to.", ("ToCity",)),
            Column("to_state", "string", "State of the number that was written to.", ("ToState",)),
            Column("to_zip", "string", "Postal code of the number that was written to.", ("ToZip",)),
            Column("to_country", "string", "Country of the number that was written to.", ("ToCountry",)),
        ),
        None,
        "SMS_INBOUNDS",
    ),
    Event(
        "context_hits",
        ("ContextHitActivity",),
        "Engage was asked for a record and had it.",
        (
            *_CONTEXT,
            Column("record_size", "int", "Size of the record in bytes.", ("RecordSize",)),
            Column("created_at", "timestamp", "When the record was created, in UTC.", ("CreateTimestamp",)),
            Column("updated_at", "timestamp", "When the record was last changed, in UTC.", ("UpdateTimestamp",)),
        ),
        # The document's sample of a miss carries the name of a hit.
        reclassify=Reclassification("context_misses", frozenset({"RecordSize", "CreateTimestamp", "UpdateTimestamp"})),
    ),
    Event(
        "context_misses",
        ("ContextMissActivity",),
        "Engage was asked for a record and did not have it.",
        (
            *_CONTEXT,
            Column("is_inferred", "bool", "True where the item is named a hit and known as a miss by its shape."),
        ),
    ),
    Event(
        "inbound_emails",
        ("InboundEmailActivity",),
        "A recipient answered an e-mail.",
        (
            _EMAIL,
            Column("ip_address", "string", "IP address of the sending mail server.", ("IpAddress",)),
            Column("mail_from", "string", "Envelope sender of the answer.", ("MailFrom",), pii=True),
            Column("subject", "string", "Subject of the answer.", ("Subject",), pii=True),
            Column("classification", "string", "Kind of answer, as MessageGears classified it.", ("Classification",)),
            Column("content_id", "string", "Id of the stored answer.", ("ContentId",)),
            Column("content", "string", "Text of the answer.", ("Content",), pii=True),
        ),
    ),
    Event(
        "requests",
        ("RequestActivity",),
        "A transactional request was accepted.",
        (
            Column("notification_email_address", "string", "Address to notify of the request.", ("NotificationEmailAddress",), pii=True),
            Column("recipient_xml", "string", "The recipient record of the request.", ("RecipientXml",), pii=True),
            Column("context_xml", "string", "The context data of the request.", ("ContextXml",), pii=True),
        ),
    ),
    Event(
        "unrecognized_activities",
        (),
        "An item of a kind that the catalogue does not know, kept as received.",
        (
            Column("element", "string", "Local name of the item's element."),
            Column("item_xml", "string", "The item's XML as received.", pii=True),
        ),
    ),
)

UNRECOGNIZED = "unrecognized_activities"
"""The table of items that no event with elements takes."""

REJECTED_ITEMS = "rejected_items"
"""The table of items and messages that could not become a row of an event table."""

REJECTED_ITEMS_COLUMNS: tuple[Column, ...] = (
    Column("message_id", "string", "Key of the bronze row that the item came in."),
    Column("item_index", "int", "Position of the item in its bundle, from 0; null where the message holds no readable item."),
    Column("element", "string", "Local name of the item's element, where it can be read."),
    Column("reason", "string", "Why it was rejected; one of a closed list."),
    Column("detail", "string", "What is wrong and where, for a person."),
    Column("fragment", "string", "The item's text as received, or the whole body where it cannot be split.", pii=True),
    Column("source", "string", "Bronze table that the message came from."),
    Column("received_at", "timestamp", "When the message was received, in UTC."),
    Column("received_date", "date", "UTC date of `received_at`; the partition column."),
)

SET_ASIDE = "set_aside_messages"
"""The table of messages that could not be flattened for an unforeseen reason. It is created with the first of them."""

SET_ASIDE_COLUMNS: tuple[Column, ...] = (
    Column("message_id", "string", "Key of the bronze row, which has the message."),
    Column("silver_table", "string", "Silver table that the message's items are missing in; null where they are missing in all of them."),
    Column("items", "int", "Items that are missing for it, by a count that reads tags only where the message could not be read."),
    Column("reason", "string", "Type of the error, and the line of mg-lakehouse that met it."),
    Column("source", "string", "Bronze table that the message came from."),
    Column("received_at", "timestamp", "When the message was received, in UTC."),
    Column("received_date", "date", "UTC date of `received_at`; the partition column."),
)

UNNAMED_ACTIVITY_TYPES: tuple[str, ...] = ("MOBILE_PUSH_CLICKS", "SMS_CLICKS")
"""Types of the AccountActivity API whose elements are not published: their items are unrecognized, and kept."""

_OF_NO_EVENT = {REJECTED_ITEMS: REJECTED_ITEMS_COLUMNS, SET_ASIDE: SET_ASIDE_COLUMNS}
_BY_TABLE = {event.table: event for event in EVENTS}
_BY_ELEMENT = {element: event for event in EVENTS for element in event.elements}


def silver_tables() -> tuple[str, ...]:
    """List the silver tables that every lake has: the event tables in catalogue order, ``rejected_items`` last."""
    return (*_BY_TABLE, REJECTED_ITEMS)


def activity_types() -> tuple[str, ...]:
    """List the types that have daily files in the AccountActivity API."""
    return (*(event.activity_type for event in EVENTS if event.activity_type is not None), *UNNAMED_ACTIVITY_TYPES)


def table_of_activity_type(activity_type: str) -> str:
    """Return the silver table for the items of a daily file."""
    return next((event.table for event in EVENTS if event.activity_type == activity_type), UNRECOGNIZED)


def event_of_element(element: str) -> Event | None:
    """Return the event of an element by its local name; ``None`` for an unknown one."""
    return _BY_ELEMENT.get(element)


def event_of_table(table: str) -> Event:
    """Return the event that fills a silver table.

    Raises:
        KeyError: the catalogue has no such event table.
    """
    return _BY_TABLE[table]


@cache
def columns_of(table: str) -> tuple[Column, ...]:
    """Return all columns of a silver table in the order of the contract.

    Raises:
        KeyError: the catalogue has no such table.
    """
    if table in _OF_NO_EVENT:
        return _OF_NO_EVENT[table]
    return (*COMMON_COLUMNS, *_BY_TABLE[table].columns, *LINEAGE_COLUMNS)
