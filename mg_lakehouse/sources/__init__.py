"""The outside world: the SQS queue and MessageGears' web service."""
