"""Gold: what a dbt model looks at in a build, and the commit of what it gave."""
