"""What `dg` loads: each folder with a `defs.yaml`, each module."""
