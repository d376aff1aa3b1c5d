"""The commands of `charlie`, one module for each group; app.command_line imports them lazily."""
