"""What is timed, each in a process of its own: ``python -m benchmarks.work <name> <parameters> <answer>``, both files of JSON.

Modules warm up on a little data first (imports, thread pools, compiled regular expressions), then time the real thing once.
"""
