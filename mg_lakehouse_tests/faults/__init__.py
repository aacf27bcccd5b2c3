"""Faults of the store and of the machine, forced from outside: the product's code runs unchanged."""
