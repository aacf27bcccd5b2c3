"""What one would use instead, written as somebody would who knows the tool; each in an environment of its own where it needs one."""
