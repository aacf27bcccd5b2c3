"""A generator of a realistic event feed, and the truth about it: which rows the feed must become, and what must be rejected.

The generator imitates the sender. It knows the vendor's element names by itself and shares nothing with the code that reads
the feed, so that its truth can judge that code. Start at :func:`generate`; :mod:`.behaviour` decides what happens,
:mod:`.writing` how it is written, :mod:`.breaking` what is broken in it, and :mod:`.trickle` sends without end.
"""

from mg_lakehouse.testing.feed.feed import Bundle, Feed, FeedPlan, generate
from mg_lakehouse.testing.feed.truth import Rejected, TrueRow, Truth

__all__ = ["Bundle", "Feed", "FeedPlan", "Rejected", "TrueRow", "Truth", "generate"]
