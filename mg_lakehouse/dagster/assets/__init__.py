"""The asset definitions. They are thin: they read, call, write and report."""
