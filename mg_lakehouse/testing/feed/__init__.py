"""A generator of a realistic feed: the bundles as MessageGears sends them, and the truth about them."""
