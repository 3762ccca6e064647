"""What is fetched when nothing is named, and what is bundled and stands in where it does not come.

Named things are never substituted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from spamgpt.errors import NetworkError
from spamgpt.reporting import Reporter
from spamgpt.workspace import Draft

PREFERRED_DATASET, PREFERRED_MODEL = "sms-spam-collection", "gpt2"

Fetched = TypeVar("Fetched")


@dataclass(frozen=True)
class Substitution:
    """What stands in for what, and why; `setting` is the one that names such a thing."""

    setting: Literal["dataset", "model"]
    wanted: str
    used: str
    reason: str

    @property
    def _what(self) -> str:
        return {"dataset": "data set", "model": "model"}[self.setting]

    def tell(self, reporter: Reporter) -> None:
        """Warns of it, so that nobody overlooks it."""
        reporter.warn(
            f"The {self._what} {self.wanted} could not be fetched: {self.reason.rstrip('.')}."
        )
        reporter.warn(
            f"USING THE BUNDLED {self.used} INSTEAD. To insist, fetch with "
            f"`{self.setting}={self.wanted}`; to work without a network, with `offline=True`."
        )

    def record(self, draft: Draft) -> None:
        """Writes it into the artifact, from which all that are made of it inherit it."""
        draft.metadata["in_place_of"] = {"wanted": self.wanted, "reason": self.reason}
        draft.substitutions.append(
            f"{self.used}, bundled with spamgpt, stands in for the {self._what} {self.wanted}, "
            "which could not be fetched."
        )


def fetch_or_substitute(
    setting: Literal["dataset", "model"],
    wanted: str,
    bundled: str,
    fetch: Callable[[str, Substitution | None], Fetched],
    reporter: Reporter,
) -> Fetched:
    """Fetches what is preferred or, if a NetworkError says that it does not come, the bundled one.

    `fetch` is given the source and, the second time, the substitution.
    """
    try:
        return fetch(wanted, None)
    except NetworkError as error:
        substitution = Substitution(setting, wanted, bundled, error.message)
        substitution.tell(reporter)
        return fetch(bundled, substitution)


class Network:
    """Whether a server of the preferred data set or model answers; asked at the first question."""

    def __init__(self, for_dataset: bool, for_model: bool) -> None:
        self._for_dataset = for_dataset
        self._for_model = for_model

    def require(self) -> None:
        """Raises NetworkError if none answers, in seconds, where a download would go on trying."""
        if not self._answers:
            raise NetworkError("no server answered", "Check the network.")

    @cached_property
    def _answers(self) -> bool:
        from huggingface_hub import constants

        from spamgpt.sources.datasets import SMS_SPAM_COLLECTION
        from spamgpt.sources.reachability import any_answers

        ask_hub = self._for_model and not constants.HF_HUB_OFFLINE
        return any_answers(
            [
                *(SMS_SPAM_COLLECTION.urls if self._for_dataset else ()),
                *([constants.ENDPOINT] if ask_hub else ()),
            ]
        )
