"""A fine-tuned classifier ready to answer: its files, its configuration, its predictions."""
