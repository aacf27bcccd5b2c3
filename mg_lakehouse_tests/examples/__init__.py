"""The example projects, run as their README says."""
