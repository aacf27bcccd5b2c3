"""A lakehouse to try without an account: a generator of a realistic event feed and an embedded queue.

Belongs here: what stands in for MessageGears and for SQS. The generator knows the vendor's element names
by itself, for it imitates the sender; it shares nothing with the code that reads the feed, so its truth can
judge that code. Start at :mod:`mg_lakehouse.demo.feed` and :mod:`mg_lakehouse.demo.queue`.
"""
