"""Settings, models, memory, database, events and library. Knows no queue, lifecycle or screen."""
