"""Commands for the library: entries, conversations, what was deleted, and copies of all of it."""
