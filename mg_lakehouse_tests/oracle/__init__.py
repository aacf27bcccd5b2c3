"""An independent reckoning of silver and gold in plain Python, for the tests to compare the tables with.

Written from the definitions alone (the decision log in ``docs/decisions`` says what they leave open), without
Polars, SQL or any of the package's code but the generator's truth, so that it can be wrong only on its own account.
"""
