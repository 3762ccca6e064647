"""What a server counts, for Prometheus. Labels come from the program alone, never from clients."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_MESSAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "spamgpt_requests",
            "Requests by protocol, endpoint or command, and status.",
            ("protocol", "endpoint", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "spamgpt_request_seconds",
            "From a request's headers, or the beginning of a connection to spamd, to its answer.",
            ("protocol", "endpoint"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.answers = Counter(
            "spamgpt_answers", "Messages classified, by label.", ("label",), registry=registry
        )
        self.corrections = Counter(
            "spamgpt_corrections",
            "Corrections taken, by their label or forgotten.",
            ("label",),
            registry=registry,
        )
        self.trainings = Counter(
            "spamgpt_trainings",
            "Trainings on corrections by how they ended: taken, kept_old, nothing_new or failed.",
            ("outcome",),
            registry=registry,
        )
        self.untrained = Gauge(
            "spamgpt_untrained_corrections",
            "Corrections since the last training.",
            registry=registry,
        )
        self.batch_messages = Histogram(
            "spamgpt_batch_messages",
            "Messages classified together.",
            buckets=_MESSAGES,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "spamgpt_batch_seconds",
            "Seconds that a batch took.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue = Gauge(
            "spamgpt_queue_messages", "Messages that wait to be classified.", registry=registry
        )
        self.classifier = Gauge(
            "spamgpt_classifier", "1 for the classifier in use.", ("name",), registry=registry
        )

    def count_batch(self, messages: int, seconds: float) -> None:
        """Counts a batch that was classified."""
        self.batch_messages.observe(messages)
        self.batch_seconds.observe(seconds)

    def count_request(self, protocol: str, endpoint: str, status: int, seconds: float) -> None:
        """Counts a request that was answered or refused."""
        self.requests.labels(protocol, endpoint, str(status)).inc()
        self.seconds.labels(protocol, endpoint).observe(seconds)

    def exposition(self) -> bytes:
        """All of them in the text format of Prometheus."""
        return generate_latest(self.registry)
