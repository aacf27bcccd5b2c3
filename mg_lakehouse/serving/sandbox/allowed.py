"""The allow lists of an ad hoc statement: functions, table functions, settings, system tables, and kinds of nodes.

These lists allow rather than refuse: a function of a later DuckDB or an extension is refused until somebody has read what it does and added it.
They were written by hand from the functions of DuckDB 1.5.5 with its extensions `delta` and `httpfs`. An allowed function computes from its
arguments: it opens no file and no connection, changes nothing outside its query, and runs no text as SQL. A test names the functions of the
installed DuckDB that are left out.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EXPRESSIONS", "FUNCTIONS", "PARTS", "SETTINGS", "SHOWN", "SYSTEM_TABLES", "TABLE_FUNCTIONS"]

_AGGREGATES: Final = """
    any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null arg_max_nulls_last arg_min arg_min_null
    arg_min_nulls_last argmax argmin array_agg avg bit_and bit_or bit_xor bitstring_agg bool_and bool_or corr count count_if count_star
    countif covar_pop covar_samp cume_dist dense_rank entropy favg fill first first_value fsum group_concat histogram histogram_exact
    kahan_sum kurtosis kurtosis_pop lag last last_value lead list listagg mad max max_by mean median min min_by mode nth_value ntile
    percent_rank product quantile quantile_cont quantile_disc rank rank_dense regr_avgx regr_avgy regr_count regr_intercept regr_r2
    regr_slope regr_sxx regr_sxy regr_syy reservoir_quantile row_number sem skewness stddev stddev_pop stddev_samp string_agg sum
    sum_no_overflow sumkahan var_pop var_samp variance
"""

_OPERATORS: Final = """
    !__postfix !~~ !~~* % & && * ** + - ->> / // <-> << <=> <@ >> @ @> ^ ^@ | || ~ ~~ ~~* ~~~
"""

_NUMBERS: Final = """
    abs acos acosh add asin asinh atan atan2 atanh bin bit_count bit_position bitstring cbrt ceil ceiling cos cosh cot degrees divide
    equi_width_bins even exp factorial floor gamma gcd get_bit greatest greatest_common_divisor isfinite isinf isnan lcm least
    least_common_multiple lgamma ln log log10 log2 mod multiply nextafter pi pow power radians random round set_bit setseed sign signbit
    sin sinh sqrt subtract tan tanh trunc xor
"""

_TIMES: Final = """
    age century current_date current_localtime current_localtimestamp date_diff date_part date_sub date_trunc datediff datepart datesub
    datetrunc day dayname dayofmonth dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us era get_current_time
    get_current_timestamp hour isodow isoyear julian last_day make_date make_time make_timestamp make_timestamp_ms make_timestamp_ns
    make_timestamptz microsecond millennium millisecond minute month monthname nanosecond normalized_interval now quarter second
    strftime strptime time_bucket timezone timezone_hour timezone_minute to_centuries to_days to_decades to_hours to_microseconds
    to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years today transaction_timestamp
    try_strptime week weekday weekofyear year yearweek
"""

_TEXTS: Final = """
    alias ascii bar base64 bit_length char_length character_length chr concat concat_ws contains current_database current_schema
    current_schemas damerau_levenshtein decode editdist3 encode ends_with error format formatReadableDecimalSize formatReadableSize
    format_bytes from_base64 from_binary from_hex gen_random_uuid getvariable hamming hash hex ilike_escape in_search_path instr jaccard
    jaro_similarity jaro_winkler_similarity lcase left left_grapheme len length length_grapheme levenshtein like_escape lower lpad ltrim
    md5 md5_number mismatches not_ilike_escape not_like_escape octet_length ord parse_dirname parse_dirpath parse_filename
    parse_formatted_bytes parse_path position prefix printf regexp_escape regexp_extract regexp_extract_all regexp_full_match
    regexp_matches regexp_replace regexp_split_to_array repeat replace reverse right right_grapheme rpad rtrim sha1 sha256 split
    starts_with str_split str_split_regex string_split string_split_regex string_to_array strip_accents strlen strpos substr substring
    substring_grapheme suffix to_base to_base64 to_binary to_hex translate trim typeof ucase unbin unhex unicode upper url_decode
    url_encode uuid uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7 version
"""

_LISTS: Final = """
    aggregate apply array_aggr array_aggregate array_apply array_cat array_concat array_contains array_cosine_distance
    array_cosine_similarity array_cross_product array_distance array_distinct array_dot_product array_extract array_filter
    array_grade_up array_has array_has_all array_has_any array_indexof array_inner_product array_intersect array_length
    array_negative_dot_product array_negative_inner_product array_position array_reduce array_resize array_reverse_sort array_select
    array_slice array_sort array_to_json array_transform array_unique array_value array_where array_zip cardinality element_at enum_code
    enum_first enum_last enum_range enum_range_boundary filter flatten generate_series grade_up list_aggr list_aggregate list_apply
    list_cat list_concat list_contains list_cosine_distance list_cosine_similarity list_distance list_distinct list_dot_product
    list_element list_extract list_filter list_grade_up list_has list_has_all list_has_any list_indexof list_inner_product
    list_intersect list_negative_dot_product list_negative_inner_product list_pack list_position list_reduce list_resize
    list_reverse_sort list_select list_slice list_sort list_transform list_unique list_value list_where list_zip map map_concat
    map_contains map_entries map_extract map_extract_value map_from_entries map_keys map_values range reduce row row_to_json
    struct_concat struct_contains struct_extract struct_extract_at struct_has struct_indexof struct_insert struct_keys struct_pack
    struct_position struct_update struct_values switch union_extract union_tag union_value unpivot_list
"""

_JSON: Final = """
    from_json from_json_strict json_array json_array_length json_contains json_exists json_extract json_extract_path
    json_extract_path_text json_extract_string json_keys json_merge_patch json_object json_pretty json_quote json_structure
    json_transform json_transform_strict json_type json_valid json_value to_json variant_extract variant_typeof
"""

_MACROS: Final = """
    ago array_append array_pop_back array_pop_front array_prepend array_push_back array_push_front array_reverse array_to_string
    current_catalog current_user date_add days_in_month fdiv fmod generate_subscripts geomean geometric_mean json json_group_array
    json_group_object json_group_structure list_any_value list_append list_approx_count_distinct list_avg list_bit_and list_bit_or
    list_bit_xor list_bool_and list_bool_or list_count list_entropy list_first list_histogram list_kurtosis list_kurtosis_pop list_last
    list_mad list_max list_median list_min list_mode list_prepend list_product list_reverse list_sem list_skewness list_stddev_pop
    list_stddev_samp list_string_agg list_sum list_var_pop list_var_samp map_contains_entry map_contains_value md5_number_lower
    md5_number_upper nullif pg_size_pretty pg_typeof regexp_split_to_table round_even roundbankers split_part wavg weighted_avg
"""

FUNCTIONS: Final = frozenset(
    name.lower() for text in (_AGGREGATES, _OPERATORS, _NUMBERS, _TIMES, _TEXTS, _LISTS, _JSON, _MACROS) for name in text.split()
) | {"unnest"}
"""In lower case, as DuckDB compares names. Left out, among others: `write_blob`; `write_log`; `nextval`; `json_serialize_plan`, which binds its
query; DuckDB's internal functions."""

_TABLES: Final = """
    duckdb_columns duckdb_databases duckdb_functions duckdb_keywords duckdb_schemas duckdb_tables duckdb_types duckdb_variables duckdb_views
    generate_series icu_calendar_names json_each json_tree pg_timezone_names range repeat repeat_row unnest
"""

TABLE_FUNCTIONS: Final = frozenset(_TABLES.split())
"""Functions for a `from`. Left out, among others: all that open files; `delta_scan`, which only the catalogue's own views call; `query`,
`query_table`, `histogram` and `histogram_values`, which run a text or open what it names; `duckdb_settings`, `duckdb_secrets` and `which_secret`;
`enable_logging` and `enable_profiling`, which write; `arrow_scan`, `pandas_scan` and `python_map_function`, which take a memory address."""

SYSTEM_TABLES: Final = frozenset(
    {
        *(("", table) for table in ("duckdb_columns", "duckdb_schemas", "duckdb_tables", "duckdb_types", "duckdb_views")),
        *(("information_schema", table) for table in ("columns", "schemata", "tables")),
    }
)
"""By schema and name. Left out, among others: `pg_catalog.pg_settings`, which shows the same as `duckdb_settings`."""

SETTINGS: Final = frozenset({"calendar", "memory_limit", "threads", "timezone"})
"""Settings that `current_setting` may read."""

SHOWN: Final = frozenset({"", '"databases"', '"tables"', '"schemas"', '"variables"', "__show_tables_expanded"})
"""Arguments of `show` besides a table or a query, as DuckDB's parser names them."""

_EXPRESSIONS: Final = """
    BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT DEFAULT FUNCTION LAMBDA LAMBDA_REF OPERATOR POSITIONAL_REFERENCE
    STAR SUBQUERY WINDOW
"""

_PARTS: Final = """
    SELECT_NODE SET_OPERATION_NODE CTE_NODE RECURSIVE_CTE_NODE
    BASE_TABLE EMPTY EXPRESSION_LIST JOIN PIVOT SHOW_REF SUBQUERY TABLE_FUNCTION
    DISTINCT_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER ORDER_MODIFIER ASCENDING DESCENDING ORDER_DEFAULT
    ARRAY_TYPE_INFO DECIMAL_TYPE_INFO ENUM_TYPE_INFO GENERIC_TYPE_INFO LIST_TYPE_INFO STRING_TYPE_INFO STRUCT_TYPE_INFO UNBOUND_TYPE_INFO
"""

EXPRESSIONS: Final = frozenset(_EXPRESSIONS.split())
"""Kinds of expressions, as DuckDB's parser names them in `class`."""

PARTS: Final = frozenset(_PARTS.split())
"""Kinds of queries, of items in a `from`, of modifiers and of types, as DuckDB's parser names them in `type`."""
