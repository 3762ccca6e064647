"""The version of spamgpt."""

__version__ = "0.1.0"
