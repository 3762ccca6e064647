"""Fine-tuning: the loop, its resumable state, and stopping it cleanly."""
