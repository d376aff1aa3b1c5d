"""The lifecycle of the one heavy model that is loaded at a time."""
