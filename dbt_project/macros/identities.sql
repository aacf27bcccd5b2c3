{#
    An identity between the counts of a row, by its name. A model names those that its columns fulfil, and none is dropped because a column is not
    there: a name that nobody knows does not compile, and a test whose column was renamed ends as an error.
#}
{% macro identity(name) %}
    {%- set identities = {
        "accepted": "accepted = delivered + implied_delivered - bounced_outofband",
        "attempted": "attempted = accepted + bounced + deferred",
        "targeted": "targeted = attempted + suppressed + rejected + render_failed",
        "bounced by class": "bounced = hard_bounced + soft_bounced + block_bounced + undetermined_bounced",
        "bounced by band": "bounced = bounced_inband + bounced_outofband",
        "openers": "unique_human_openers <= unique_openers and unique_openers <= open_events",
        "machine openers": "machine_only_openers = unique_openers - unique_human_openers",
        "clickers": "unique_human_clickers <= unique_clickers and unique_clickers <= click_events",
        "complainers": "complainers_fbl <= complainers and accepted_fbl <= accepted",
        "complaint rates": "complaint_rate_low is null or complaint_rate_low <= complaint_rate_fbl",
        "engaged": "human_engaged <= accepted and human_engaged >= unique_human_openers and human_engaged >= unique_human_clickers",
        "human opens": "human_open_events <= open_events",
        "human clicks": "human_click_events <= click_events",
        "attempts are sends": "len(attempt_dates) <= len(send_dates)",
        "acceptance": "is_accepted = (outcome in ('delivered', 'implied_delivery'))",
        "failure of an outcome": "(bounced_at is null) = (outcome in ('delivered', 'implied_delivery', 'render_failed'))",
        "messages have events": "messages <= events or messages = 0",
        "messages of a day": "messages <= denominator",
        "first after last": "first_event_at <= last_event_at",
        "reasons": "len(reasons) between 1 and evidence_events and list_contains(reasons, first_reason)",
        "evidence": "first_evidence_at <= last_evidence_at",
        "newest reason": "newest_reason_at between first_evidence_at and last_evidence_at",
        "evidence before the attempt": "last_evidence_at < first_attempted_at",
        "attempts of a day are sends": "attempted_messages <= sent_messages",
        "denominators have no category": "category_key is not null or messages + events = 0",
        "seen first and last": "first_seen_at <= last_seen_at",
        "late rows": "late_rows <= received_rows",
        "lags": "lag_seconds_p50 is null or (lag_seconds_p50 <= lag_seconds_p95 and lag_seconds_p95 <= lag_seconds_max)",
        "hits and misses": "requests = hits + misses",
        "dead tokens": "dead_tokens <= bounced",
        "failures of text messages": "bounced + rejected = invalid_addresses + international_prohibited + addresses_blocked + "
            ~ "invalid_content + service_failures + cancelled + other_failures",
        "senders": "senders <= events",
        "addresses": "addresses <= events",
        "first after last click": "first_clicked_at <= last_clicked_at",
        "machine events have reasons": "is_human is not distinct from (len(machine_reasons) = 0)",
        "failures have a category": "(category_key is not null) = (kind in ('bounce', 'deferral', 'suppression', 'rejection'))",
        "machines have reasons": "(len(machine_reasons) > 0) = (human_open_events + human_click_events < open_events + click_events)",
        "openers by age": "human_openers <= openers and openers <= aged_messages",
        "clickers by age": "human_clickers <= clickers and clickers <= aged_messages",
    } -%}
    {%- if name not in identities -%}
        {{ exceptions.raise_compiler_error("Unknown identity '" ~ name ~ "': use one of those in macros/identities.sql, or add it there.") }}
    {%- endif -%}
    {{ return(identities[name]) }}
{% endmacro %}

{# The columns of a model that are shares of something, by their names in its contract. A change of a rate (`_vs_`) is none: it may be below 0. #}
{% macro share_columns(model) %}
    {%- set shares = ["share_of_failures"] -%}
    {%- set found = [] -%}
    {%- for node in (graph.nodes.values() if execute else []) if node.relation_name == model | string -%}
        {%- for name in node.columns if name in shares or ("rate" in name.split("_") and "vs" not in name.split("_")) -%}
            {%- do found.append(name) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}
