"""An SQS emulator: the model of a queue, faults by rule, a clock that a test can move, and a server that boto3 talks to unchanged.

:class:`SqsEmulator` is the way in::

    with SqsEmulator() as sqs:
        sqs.publish(["<ActivityItems/>"])
        sqs.client().receive_message(QueueUrl=sqs.queue_url)

It knows standard queues, all that this package and a redrive call, and boto3's JSON protocol. It has no FIFO queues, no permissions
and no quotas but the one of messages in flight. :mod:`.model` is a queue without a network, :mod:`.calls` the calls by their names
in the API reference, :mod:`.faults` what can go wrong, :mod:`.server` the socket. Nothing here knows what a body means.
"""

from mg_lakehouse.testing.sqs.clock import Clock, RealClock, VirtualClock
from mg_lakehouse.testing.sqs.faults import Fault, Faults, Rule
from mg_lakehouse.testing.sqs.model import Counts, Queue
from mg_lakehouse.testing.sqs.server import SqsEmulator

__all__ = ["Clock", "Counts", "Fault", "Faults", "Queue", "RealClock", "Rule", "SqsEmulator", "VirtualClock"]
