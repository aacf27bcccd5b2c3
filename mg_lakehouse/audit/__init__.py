"""Audits: prove what the lake holds against what it received and what MessageGears reports."""
