"""What is measured on: the demo's feed in bundles of ten, bronze tables of it, and a history written in bulk."""
