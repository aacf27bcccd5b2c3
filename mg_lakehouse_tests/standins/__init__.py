"""Servers that stand in for AWS in tests, and faults that AWS shows only now and then."""
