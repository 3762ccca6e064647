"""The version of spamgpt."""

__version__ = "0.2.0"
