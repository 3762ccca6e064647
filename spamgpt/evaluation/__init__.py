"""Judging a classifier: metrics and plots."""
