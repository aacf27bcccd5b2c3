{{ config(scope="static", stats_columns=["channel", "category_key"]) }}

with

bounce_categories as (

    select * from {{ ref("stg_bounce_categories") }}

)

select * from bounce_categories
