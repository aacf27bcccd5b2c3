"""Small tools that know nothing of this project: signals, memory, folders, dates, escaping, progress."""
