"""Standalone DSPy optimizer scripts; they import core alone."""
