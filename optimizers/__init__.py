"""Standalone DSPy optimizers; they import only core."""
