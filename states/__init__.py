"""The lifecycle of the loaded models."""
