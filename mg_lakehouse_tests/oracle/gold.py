"""The rows of every gold table, reckoned from silver rows. Primary keys in ``PRIMARY_KEYS``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from mg_lakehouse_tests.oracle import failures
from mg_lakehouse_tests.oracle.bounces import bounce_categories_daily
from mg_lakehouse_tests.oracle.clients import client_days, client_metrics_daily
from mg_lakehouse_tests.oracle.engagement import engagement_curve, link_metrics
from mg_lakehouse_tests.oracle.events import Rows, message_events
from mg_lakehouse_tests.oracle.jobs import dim_jobs, job_bounce_categories, job_metrics, job_metrics_daily
from mg_lakehouse_tests.oracle.message_events import event_rows
from mg_lakehouse_tests.oracle.messages import fct_messages
from mg_lakehouse_tests.oracle.recipients import (
    daily,
    domain_days,
    evidence_rows,
    recipient_addresses,
    suppression_evidence,
    suppression_list,
    suppression_removals,
    suppression_violations,
    unresolved_opt_outs,
)
from mg_lakehouse_tests.oracle.seeds import read_seeds

Row = dict[str, Any]

PRIMARY_KEYS = {
    "dim_bounce_categories": ("channel", "category_key"),
    "message_events": ("channel", "kind", "activity_id"),
    "fct_messages": ("request_id", "channel", "recipient_key"),
    "dim_jobs": ("request_id",),
    "job_metrics": ("request_id", "channel"),
    "job_metrics_daily": ("request_id", "channel", "event_date", "event_date_local"),
    "job_bounce_categories": ("request_id", "channel", "category_key"),
    "bounce_categories_daily": ("event_date", "channel", "mailbox_provider", "category_key"),
    "domain_days": ("request_id", "event_date", "channel", "mailbox_provider", "recipient_domain"),
    "mailbox_provider_daily": ("event_date", "channel", "mailbox_provider"),
    "recipient_domain_daily": ("event_date", "channel", "recipient_domain", "mailbox_provider"),
    "recipient_addresses": ("channel", "recipient_id", "address"),
    "unresolved_opt_outs": ("activity_id", "channel", "suppression_reason"),
    "suppression_removals": ("channel", "address"),
    "suppression_evidence": ("activity_id", "channel", "address", "suppression_reason"),
    "suppression_list": ("channel", "address"),
    "suppression_violations": ("request_id", "channel", "recipient_key"),
    "engagement_curve": ("request_id", "channel", "age_hours"),
    "link_metrics": ("request_id", "link"),
    "bounce_reasons_daily": ("event_date", "mailbox_provider", "category_key", "smtp_code", "enhanced_status", "reason_fingerprint"),
    "job_errors": ("error_code", "error_fingerprint"),
    "render_errors": ("channel", "error_code", "template_part", "expression", "error_fingerprint"),
    "sms_metrics": ("request_id",),
    "push_metrics": ("request_id", "service"),
    "sms_inbound_daily": ("event_date", "sent_to", "inbound_type"),
    "engage_metrics_daily": ("event_date", "vendor", "prefix"),
    "client_days": ("request_id", "event_date", "channel", "device", "client", "os"),
    "client_metrics_daily": ("event_date", "channel", "device", "client", "os"),
}


NOT_RECKONED = ("bucket",)
"""Columns that mean nothing beyond the table that has them."""

OF_RECEIPT = ("known_at", "listed_at", "removed_at", "first_received_at")
"""Columns that are reckoned only of rows that say when they were received."""


def expected_gold(
    rows: Rows, *, as_of: datetime, zone: str, pii_key: str, categories: Path, providers: Path, addresses_at_most: int = 5
) -> dict[str, list[Row]]:
    """Rows of each gold table.

    Args:
        rows: rows of each silver table, as :func:`mg_lakehouse_tests.oracle.silver.expected_rows` gives them or as
            they stand in the tables (further columns do not matter).
        as_of: the refresh's time, for the maturity of jobs.
        zone: the business time zone.
        pii_key: key of the hash of addresses.
        categories: CSV file of the bounce categories.
        providers: CSV file of the mailbox providers.
    """
    seeds = read_seeds(categories, providers)
    events = message_events(rows, seeds, pii_key, addresses_at_most)
    messages = fct_messages(events, seeds)
    evidence = suppression_evidence(rows, seeds, addresses_at_most)
    jobs = dim_jobs(rows, as_of=as_of, zone=zone)
    metrics = job_metrics(messages, jobs, rows, seeds)
    return {
        "dim_bounce_categories": list(seeds.categories.values()),
        "message_events": event_rows(events, rows),
        "fct_messages": messages,
        "dim_jobs": jobs,
        "job_metrics": metrics,
        "job_metrics_daily": job_metrics_daily(events, messages, zone=zone),
        "job_bounce_categories": job_bounce_categories(events, messages, metrics, seeds),
        "bounce_categories_daily": bounce_categories_daily(events, messages, seeds),
        "domain_days": domain_days(messages, seeds),
        "mailbox_provider_daily": daily(messages, ["mailbox_provider"], seeds),
        "recipient_domain_daily": daily(messages, ["recipient_domain", "mailbox_provider"], seeds),
        "recipient_addresses": recipient_addresses(rows),
        "suppression_evidence": evidence_rows(evidence, events, pii_key),
        "unresolved_opt_outs": unresolved_opt_outs(evidence),
        "suppression_removals": suppression_removals(evidence, pii_key),
        "suppression_list": suppression_list(evidence, pii_key),
        "suppression_violations": suppression_violations(events, messages, evidence, pii_key),
        "engagement_curve": engagement_curve(messages),
        "link_metrics": link_metrics(rows, events, messages),
        "bounce_reasons_daily": failures.bounce_reasons_daily(rows, seeds),
        "job_errors": failures.job_errors(rows),
        "render_errors": failures.render_errors(rows),
        "sms_metrics": failures.sms_metrics(metrics, messages),
        "push_metrics": failures.push_metrics(messages, seeds),
        "sms_inbound_daily": failures.sms_inbound_daily(rows),
        "engage_metrics_daily": failures.engage_metrics_daily(rows),
        "client_days": client_days(events),
        "client_metrics_daily": client_metrics_daily(events),
    }
