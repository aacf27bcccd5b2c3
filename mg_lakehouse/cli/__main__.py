"""``python -m mg_lakehouse.cli``: the command line if its script is not on the path."""

from mg_lakehouse.cli.app import main

main()
