"""The queue and what runs in it."""
