"""What knows nothing of queues, states or screens: settings, models, memory, database, events, library."""
