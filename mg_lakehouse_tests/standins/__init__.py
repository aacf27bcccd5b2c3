"""What stands in for the outside in tests: real servers on the loopback interface, started and ended by the test."""
