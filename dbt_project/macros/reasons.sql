{# What the group of a pattern holds in a text; null where the text has no match, or an empty one. #}
{% macro captured(text, pattern) -%}
    nullif(regexp_extract({{ text }}, '{{ pattern }}', 1), '')
{%- endmacro %}

{#
    The SMTP reply code in a server's text: one that an enhanced status follows, else the first that begins the text or follows a mark or a
    word such as `said` or `code` (decision G50). Null where there is none: a number alone may be a size.
#}
{% macro smtp_code(details) -%}
    {#- `550 5.1.1 unknown user`, `smtp;550-#5.1.1 unknown user`. -#}
    {%- set before_status = "(?:^|[^0-9A-Za-z.])([45][0-5][0-9])[ -]+[#(<\\[]?[45][.][0-9]{1,3}[.][0-9]" -%}
    {#- `550 unknown user`, `The server said: 550`. -#}
    {%- set words = "smtp|code|error|status|said|returned|replied|response|with" -%}
    {%- set after_word =
        "(?i)(?:^|[:;\"(<\\[]|\\b(?:" ~ words ~ "))[\\s:=#]*([45][0-5][0-9])(?:[^0-9A-Za-z.]|[.](?:[^0-9]|$)|$)"
    -%}
    cast(coalesce({{ captured(details, before_status) }}, {{ captured(details, after_word) }}) as bigint)
{%- endmacro %}

{# The enhanced status code in a server's text (RFC 3463), such as 5.1.1, of a subject that is registered. Null where there is none. #}
{% macro enhanced_status(details) -%}
    {{ captured(details, "(?:^|[^0-9A-Za-z.])([45][.][0-7][.][0-9]{1,3})(?:[^0-9A-Za-z.]|[.](?:[^0-9]|$)|$)") }}
{%- endmacro %}

{# A text after some steps: each is a pattern, and what stands instead of each of its matches. #}
{% macro replaced(text, steps) -%}
    {%- set found = namespace(text=text) -%}
    {%- for pattern, instead in steps -%}
        {%- set found.text = "regexp_replace(" ~ found.text ~ ", '" ~ pattern ~ "', '" ~ instead ~ "', 'g')" -%}
    {%- endfor -%}
    {{ found.text }}
{%- endmacro %}

{#
    A server's text as words with blanks around them: lower case, no brackets and the like, `#` for quotations, what stands in angle brackets,
    URLs, and tokens of letters that no word looks like.
#}
{% macro reason_words(details) -%}
    {#- `ann (at) a.example` and `ann @ a.example` are addresses. -#}
    {%- set spelled_at = "(?i)\\s*[(\\[{]\\s*at\\s*[)\\]}]\\s*|\\s+@\\s+" -%}
    {%- set quotations = ["\"(?:[^\"\\\\]|\\\\.)*\"", "(?:^|\\s)''[^'']*''", "<[^<>]*>"] | join("|") -%}
    {#- A URL, `xKfQaB`, 25 letters or more, eight of a hexadecimal number or more. -#}
    {%- set no_words = [
        "[A-Za-z][A-Za-z0-9+.-]*://\\S+",
        "[A-Za-z]*[a-z][A-Z][a-z]?[A-Z][A-Za-z]*",
        "[A-Za-z]{25,}",
        "\\b(?:[a-f]{8,}|[A-F]{8,})\\b",
    ] | join("|") -%}
    {%- set punctuation = "[\\s(),;:<>\\[\\]{}!?*~|`\"]+" -%}
    ' ' || lower({{ replaced(details, [[spelled_at, "@"], [quotations, " # "], [no_words, "#"], [punctuation, " "]]) }}) || ' '
{%- endmacro %}

{# The local part of an address; null without an address. #}
{% macro local_part(address) -%}
    nullif(split_part(lower(trim({{ address }})), '@', 1), '')
{%- endmacro %}

{# The words of a local part (`own`) that name a person where they stand alone: itself, and those of three letters or more. #}
{% macro local_names(own) -%}
    list_filter(
        list_append(string_split_regex({{ own }}, '[^a-z]+'), {{ own }}),
        lambda part: length(part) > 2 or (part <> '' and part = {{ own }})
    )
{%- endmacro %}

{# Words with `#` for a local part wherever it stands, but for a short one, which may be part of any word. #}
{% macro without_local_part(words, own) -%}
    replace({{ words }}, case when length({{ own }}) > 3 then {{ own }} else '#' end, '#')
{%- endmacro %}

{# Words with `#` for those that hold one of some names. Few texts hold one, and looking word by word is dear. #}
{% macro without_names(words, names) -%}
    case
        when list_has_any(string_split_regex({{ words }}, '[^a-z]+'), {{ names }})
            then array_to_string(
                list_transform(
                    string_split({{ words }}, ' '),
                    lambda word: case when list_has_any(string_split_regex(word, '[^a-z]+'), {{ names }}) then '#' else word end
                ),
                ' '
            )
        else {{ words }}
    end
{%- endmacro %}

{# Pattern of the words after which the next word may name somebody. #}
{% macro words_before_names() -%}
    users?|recipients?|mailbox|mailboxes|inbox|account|address|addresses|alias|username
{%- endmacro %}

{# Pattern of the words that name nobody where they follow one of those: `user unknown`, `mailbox is full`. #}
{% macro words_that_name_nobody() -%}
    {{ (
        "# unknown not no is was are does doesn''t did has have had over full disabled inactive unavailable rejected suspended closed " ~
        "deleted expired exceeded exceeds blocked name names address addresses account user users mailbox recipient recipients in on " ~
        "and or of at by for from to with that this you your cannot can can''t could couldn''t may must temporarily currently already " ~
        "quota size limit invalid verification verify list lookup server storage error failed refused exists exist syntax reputation " ~
        "complaint complaints policy access denied due here too but because if unrouteable undeliverable unverified locked moved the a " ~
        "an be table"
    ).split() | join("|") }}
{%- endmacro %}

{#
    What the words say beside of whom and when (decision G50): `#` stands for addresses, host names, what an unknown word after `user` and its like
    names, and whatever holds a digit, a sign or a character beyond ASCII, cut to 200 characters. All patterns are constants: one made of the
    address took 140 us a row to compile.
#}
{% macro reason_fingerprint(words) -%}
    {%- set tells_apart = [
        "[^ ]*(?:@|#|[0-9]|[^\\x20-\\x7e])[^ ]*",
        "[^ ]*[^ .][.][^ .][^ ]*",
        "[^ ]*[=/\\\\_%&+][^ ]+",
    ] | join("|") -%}
    {%- set naming = words_before_names() -%}
    {#- A `~` ties a word that names nobody to the one before it. Twice, for a tie can begin where another ends. -#}
    {%- set tie = ["\\b(" ~ naming ~ ") (" ~ words_that_name_nobody() ~ ")( |~|$)", "\\1~\\2\\3"] -%}
    {%- set hide_name = ["\\b(" ~ naming ~ ") [^ ]+", "\\1 #"] -%}
    {%- set untie = ["~", " "] -%}
    {%- set one_mark = ["#(?: #)+", "#"] -%}
    coalesce(nullif(trim(left(trim({{ replaced(words, [[tells_apart, "#"], tie, tie, hide_name, untie, one_mark]) }}), 200)), ''), '(none)')
{%- endmacro %}

{#
    The code of an error: a phrase as received, with one number at most, for more are a telephone's or a street's, and without the names of the
    event's own address, where one is known. Of anything else, which may name somebody, what its `words` say.
#}
{% macro error_code(code, words=none, own="cast(null as varchar)") -%}
    case
        when
            regexp_full_match(
                trim({{ code }}),
                '[A-Za-z]{1,40}(?:[ _:-]{1,2}[A-Za-z]{1,40}){0,8}(?:[ _:-]{1,2}[0-9]{1,4})?(?:[ _:-]{1,2}[A-Za-z]{1,40}){0,8}'
            )
            and not coalesce(length({{ own }}) > 3 and contains(lower({{ code }}), {{ own }}), false)
            and not coalesce(list_has_any(string_split_regex(lower({{ code }}), '[^a-z]+'), {{ local_names(own) }}), false)
            then trim({{ code }})
        else {{ reason_fingerprint(words or reason_words(code)) }}
    end
{%- endmacro %}

{# Part of the template that a message names, in capitals as MessageGears writes it. Null where it names none. #}
{% macro template_part(message) -%}
    {{ captured(message, "\\bin ([A-Z][A-Z_]+)\\b") }}
{%- endmacro %}

{# Expression of the template that a message names, where it is a path of names: a text in it may be a person's. #}
{% macro template_expression(message) -%}
    {%- set path = "[a-z_$][a-z0-9_$]*(?:[.][a-z_$][a-z0-9_$]*|[?][a-z_]+|\\[[0-9]{1,3}\\])*" -%}
    {{ captured(message, "(?i)\\bexpression (" ~ path ~ ")(?:[\\s,;:.]|$)") }}
{%- endmacro %}
