{# Host of an address, in lower case; null where there is none to read. What stands before the last `@` is the user, however many there are. #}
{% macro link_host(url) -%}
    nullif(lower(regexp_extract({{ url }}, '^\s*[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?([^/?#:@\s]+)(?::[0-9]*)?(?:[/?#\s]|$)', 1)), '')
{%- endmacro %}

{#
    What tells a link from others without telling people apart (decision G42): host and path of its address, without query and fragment; parts of the
    path that hold a digit, an `@` or more than 40 characters are `*`, for they may be a person's or a message's. So are those that hold the local
    part of the person's own address (`own`), which few do: to look at each part is dear.
#}
{% macro link_place(url, own) -%}
    {%- set path = "regexp_extract(" ~ url ~ ", '://[^/?#]*([^?#]*)', 1)" -%}
    {%- set parts = "regexp_replace(" ~ path ~ ", '/(?:[^/]*(?:[0-9@＠]|%40)[^/]*|[^/]{41,})', '/*', 'g')" -%}
    {{ link_host(url) }} || case
        when contains({{ link_text(url) }}, {{ own }})
            then
                array_to_string(
                    list_transform(
                        string_split({{ parts }}, '/'),
                        lambda part: case when {{ names_person(link_text("part"), own) }} then '*' else part end
                    ),
                    '/'
                )
        else {{ parts }}
    end
{%- endmacro %}

{# A part of an address of a link, in lower case and without percent signs, which may stand for percent signs. #}
{% macro link_text(text) -%}
    lower(case when contains({{ text }}, '%') then url_decode(url_decode({{ text }})) else {{ text }} end)
{%- endmacro %}

{# The local part of an e-mail address as it is compared, without what stands behind a `+`: what may stand for the person in a link. #}
{% macro link_person(address) -%}
    nullif(split_part(split_part({{ address }}, '@', 1), '+', 1), '')
{%- endmacro %}

{#
    Whether a text holds a person's local part (`own`): anywhere if it is no word (`pat.doe`), else as a word of its own, for `home` is in `homeware`.
#}
{% macro names_person(text, own) -%}
    case
        when regexp_full_match({{ own }}, '[a-z]+') then list_contains(string_split_regex({{ text }}, '[^a-z]+'), {{ own }})
        else contains({{ text }}, {{ own }})
    end
{%- endmacro %}

{# An id or a name that the template gave a link: null where it gave none (an id of `-1` is none), or one that holds an address. #}
{% macro link_label(label, own) -%}
    case
        when not regexp_matches({{ label }}, '(?i)[@＠]|%(?:25)*40|&(?:amp;)*(?:commat|#0*64|#x0*40);|[(\\[]at[)\\]]')
            and not coalesce(
                contains({{ link_text(label) }}, {{ own }}) and not regexp_full_match({{ own }}, '[a-z]+'), false
            )
            then nullif(nullif(trim({{ label }}), ''), '-1')
    end
{%- endmacro %}
