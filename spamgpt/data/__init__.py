"""Messages: reading them from files and streams, splitting them, and batching their tokens."""
