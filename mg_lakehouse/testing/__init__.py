"""For tests and demos: emulators of what is outside, and a generator of a feed with its truth."""
