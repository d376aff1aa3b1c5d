"""The commands of `charlie`, one module for each group; app.cli imports them lazily."""
