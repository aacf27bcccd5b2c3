"""What is outside: the SQS queue and MessageGears' web service."""
