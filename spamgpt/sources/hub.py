"""Classifiers on the Hugging Face Hub: downloaded from it, and uploaded to it."""

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RemoteEntryNotFoundError
from huggingface_hub.utils.tqdm import disable_progress_bars

from spamgpt.errors import NetworkError, UsageError
from spamgpt.reporting import Reporter
from spamgpt.sources.models import HubModel, download, heard_by, link_or_copy, reason_of

_PREFIX = "hub:"


def download_classifier(
    source: str, files: Sequence[str], needed: Sequence[str], folder: Path, reporter: Reporter
) -> str:
    """Puts those of the `files` that `hf:owner/name[@revision]` has into a folder.

    Returns the repository and its revision. Raises UsageError for a name that is none, NetworkError
    if one of the files `needed` does not come.
    """
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?", source)
    if not match:
        raise UsageError(
            f"{source} does not name a repository.",
            "Write hf:owner/name or hf:owner/name@revision.",
        )
    model = HubModel(source, match[1], match[2] or "main", {})
    reporter.note(f"Fetching {model.repository} at {model.revision[:12]} from the Hub")
    if not reporter.shows_progress:
        disable_progress_bars()
    for name in files:
        try:
            with heard_by(reporter):
                found = download(model, name)
        except NetworkError as error:
            if name in needed or not isinstance(error.__cause__, RemoteEntryNotFoundError):
                hint = "Check the network, or set HF_ENDPOINT to a mirror."
                raise NetworkError(error.message, hint) from error
        else:
            link_or_copy(found.resolve(), folder / name)
    return f"{model.repository}@{model.revision}"


def is_on_the_hub(target: str) -> bool:
    """Whether a target names a repository: `hub:owner/name`."""
    return target.startswith(_PREFIX)


def upload_classifier(folder: Path, target: str, reporter: Reporter) -> str:
    """Uploads a folder to the repository `hub:owner/name`; returns its address.

    A repository that does not exist is made, a private one. Raises UsageError for a name that is
    none, NetworkError if the upload fails.
    """
    repository = target.removeprefix(_PREFIX)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UsageError(f"{target} does not name a repository.", "Write hub:owner/name.")
    if not reporter.shows_progress:
        disable_progress_bars()
    api = HfApi(library_name="spamgpt")
    try:
        with heard_by(reporter):
            url = api.create_repo(repository, private=True, exist_ok=True)
            api.upload_folder(
                repo_id=repository, folder_path=folder, commit_message="Upload with spamgpt export"
            )
    # As in downloads: the errors of several HTTP clients get through.
    except Exception as error:
        raise NetworkError(
            f"{repository} could not be uploaded: {reason_of(error)}.",
            "Check the network, and log in with `hf auth login` or set HF_TOKEN to a token that "
            "may write there.",
        ) from error
    return str(url)
