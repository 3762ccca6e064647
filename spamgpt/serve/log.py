"""The log: where something went wrong, but never what a message says."""

import logging
import traceback

_logger = logging.getLogger("spamgpt.serve")


def log_unexpected(error: Exception) -> None:
    """Logs where an error happened, but not what it says: that may be text of a message."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    _logger.error("unexpected %s at %s:%s", type(error).__name__, place.filename, place.lineno)
