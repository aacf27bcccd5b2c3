"""A stand-in for SQS: the model of a queue, faults by rule, and a server that boto3 talks to unchanged."""

from mg_lakehouse_tests.standins.sqs.clock import RealClock, VirtualClock
from mg_lakehouse_tests.standins.sqs.faults import Fault, Faults, Rule
from mg_lakehouse_tests.standins.sqs.model import Queue
from mg_lakehouse_tests.standins.sqs.server import SqsStandIn

__all__ = ["Fault", "Faults", "Queue", "RealClock", "Rule", "SqsStandIn", "VirtualClock"]
