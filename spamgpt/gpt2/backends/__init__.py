"""What makes the model fast on one kind of processor."""
