"""The command line ``mg-lakehouse``."""
