"""Pre-trained models: bundled, pinned on the Hugging Face Hub, other repositories, folders."""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars

from spamgpt.addresses import without_secrets
from spamgpt.bundled import MINI_FOLDER, MINI_NAME
from spamgpt.errors import IntegrityError, MissingInputError, NetworkError, UsageError
from spamgpt.gpt2.config import GPT2Config, ModelFormatError
from spamgpt.gpt2.folder import (
    COMPANION_FILES,
    CONFIG_FILE,
    FINETUNING_FILE,
    MODEL_FILES,
    TOKENIZER_FILES,
    WEIGHTS_FILE,
    load_folder,
)
from spamgpt.reporting import Reporter
from spamgpt.workspace import artifact_name, sha256


@dataclass(frozen=True)
class HubModel:
    """A repository on the Hub at a revision, with the SHA-256 of the files where it is known."""

    name: str
    repository: str
    revision: str
    sha256: Mapping[str, str]


_TOKENIZER_SHA256 = {
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def _published(name: str, revision: str, weights: str, **others: str) -> HubModel:
    return HubModel(
        name,
        f"openai-community/{name}",
        revision,
        _TOKENIZER_SHA256 | {WEIGHTS_FILE: weights} | others,
    )


# GPT-2 as its makers released it (MIT licence); the four sizes share one tokenizer.
PUBLISHED_MODELS: Mapping[str, HubModel] = {
    model.name: model
    for model in (
        _published(
            "gpt2",
            "607a30d783dfa663caf39e06633721c8d4cfcd7e",
            "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
            **{CONFIG_FILE: "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4"},
        ),
        _published(
            "gpt2-medium",
            "6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
            "fc5a354a19255ad494f3d71549390baca1ccf61d1d822b9408971705c687c9cd",
        ),
        _published(
            "gpt2-large",
            "32b71b12589c2f8d625668d2335a01cac3249519",
            "5f47f3e12f91cd33b662ce7e433b6150ad5512b5884a2cee961b50e9c3bbebce",
        ),
        _published(
            "gpt2-xl",
            "15ea56dee5df4983c59b2538573817e1667135e2",
            "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a",
        ),
    )
}


@dataclass(frozen=True)
class FetchedModel:
    """The SHA-256 of each file put into place, and where they came from."""

    digests: Mapping[str, str]
    origin: str


def is_published(source: str) -> bool:
    """Whether a model's files are known by their hashes: those of GPT-2, and what is bundled."""
    return source in PUBLISHED_MODELS or source == MINI_NAME


def model_name(source: str) -> str:
    """The artifact name of a model; raises UsageError or MissingInputError for an unknown one."""
    if is_published(source):
        return source
    if source.startswith("hf:"):
        return artifact_name(parse_repository(source).repository.replace("/", "--"))
    if Path(source).is_dir():
        return artifact_name(Path(source).resolve().name)
    raise MissingInputError(
        f"There is no model {source!r}.",
        f"Give one of {', '.join([*PUBLISHED_MODELS, MINI_NAME])}, a folder, or "
        "hf:owner/name@revision.",
    )


def is_cached(name: str, with_weights: bool = True) -> bool:
    """Whether the Hub's cache on this machine holds all the files of a published model."""
    model = PUBLISHED_MODELS[name]
    return all(
        isinstance(try_to_load_from_cache(model.repository, file, revision=model.revision), str)
        for file in _wanted(with_weights)
    )


def obtain_model(
    source: str, folder: Path, reporter: Reporter, with_weights: bool = True
) -> FetchedModel:
    """Puts the files of a model into a folder, linked from the Hub's cache where that is possible.

    Without `with_weights` the weight file is left out. Raises NetworkError, IntegrityError or
    MissingInputError; a downloaded file with a wrong hash is removed from the cache. What is not a
    GPT-2 ends with ModelFormatError before anything but its configuration has come.
    """
    wanted = _wanted(with_weights)
    if source in PUBLISHED_MODELS or source.startswith("hf:"):
        model = PUBLISHED_MODELS.get(source) or parse_repository(source)
        return _from_hub(model, wanted, folder, reporter)
    if source == MINI_NAME:
        found = _from_folder(MINI_FOLDER, wanted, folder)
        return FetchedModel(found.digests, "the spamgpt package")
    return _from_folder(Path(source), wanted, folder)


def check_model(folder: Path, origin: str) -> None:
    """Tries to load a model; raises ModelFormatError, which names its origin, if it is no GPT-2.

    So it does for weights that are not finite: training would only fail later.
    """
    from spamgpt.gpt2.weights import not_finite

    try:
        model, _ = load_folder(folder)
        if damaged := not_finite(model):
            raise ModelFormatError(
                f"{folder / WEIGHTS_FILE} holds NaN or infinity in {damaged[0]}"
                + (f" and {len(damaged) - 1} more tensors" if damaged[1:] else "")
            )
    except ModelFormatError as error:
        # The folder is a draft that will be gone: the message names where the files came from.
        raise ModelFormatError(str(error).replace(str(folder), origin)) from error


def _wanted(with_weights: bool) -> list[str]:
    return [CONFIG_FILE, *TOKENIZER_FILES] + [WEIGHTS_FILE] * with_weights


def parse_repository(source: str) -> HubModel:
    """The repository of `hf:owner/name@revision`; raises UsageError if it is not written so."""
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)@([\w./-]+)", source)
    if not match:
        raise UsageError(
            f"`model={source}` does not name a repository and a revision.",
            "Write hf:owner/name@revision, the revision being a commit, tag or branch.",
        )
    return HubModel(source, match[1], match[2], {})


def _from_folder(source: Path, wanted: Sequence[str], folder: Path) -> FetchedModel:
    if (source / CONFIG_FILE).is_file():
        # First of all: another architecture lacks other files, too, and those are not the point.
        GPT2Config.from_file(source / CONFIG_FILE)
    missing = [name for name in wanted if not (source / name).is_file()]
    if missing:
        hint = "It needs " + ", ".join(MODEL_FILES)
        if missing == [WEIGHTS_FILE]:
            hint += "; for a model without weights, use `weights=random`"
        raise MissingInputError(f"{source} has no {', '.join(missing)}.", hint + ".")
    # A model card tells of the weights.
    companions = COMPANION_FILES if WEIGHTS_FILE in wanted else (FINETUNING_FILE,)
    present = [name for name in companions if (source / name).is_file()]
    for name in [*wanted, *present]:
        # Copied, not linked: an artifact must not change when its owner edits the folder.
        shutil.copyfile(source / name, folder / name)
    return FetchedModel({}, str(source))


def _from_hub(
    model: HubModel, wanted: Sequence[str], folder: Path, reporter: Reporter
) -> FetchedModel:
    reporter.note(f"Fetching {model.repository} at {model.revision[:12]} from the Hub")
    if not reporter.shows_progress:
        disable_progress_bars()
    digests = {}
    for name in wanted:
        with heard_by(reporter):
            cached = download(model, name)
        digests[name] = sha256(cached)
        expected = model.sha256.get(name, digests[name])
        if digests[name] != expected:
            # Otherwise every later attempt would be served the same wrong file.
            cached.resolve().unlink(missing_ok=True)
            cached.unlink(missing_ok=True)
            raise IntegrityError(
                f"{model.repository}: {name} is not the published file: SHA-256 is "
                f"{digests[name]}, expected {expected}.",
                "Try again, unset HF_ENDPOINT, or give a folder that you trust: `model=FOLDER`",
            )
        if name == CONFIG_FILE:
            GPT2Config.from_file(cached)
        link_or_copy(cached.resolve(), folder / name)
    return FetchedModel(digests, f"{model.repository}@{model.revision}")


@contextmanager
def heard_by(reporter: Reporter) -> Iterator[None]:
    """Hands what the Hub's library logs, such as that it tries again, to the reporter.

    It would write it to standard error, where even a quiet command shows it, with all that a
    server put into it.
    """
    library = logging.getLogger("huggingface_hub")
    handlers = library.handlers
    library.handlers = [_Notes(reporter)]
    try:
        yield
    finally:
        library.handlers = handlers


class _Notes(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.note(without_secrets(" ".join(record.getMessage().split())))


def download(model: HubModel, name: str) -> Path:
    """The path of a file in the Hub's cache, downloaded if need be (a broken transfer resumes).

    Raises NetworkError; its cause is RemoteEntryNotFoundError if the repository lacks the file.
    """
    hint = "Check the network, set HF_ENDPOINT to a mirror, or give a local folder: `model=FOLDER`"
    try:
        if not isinstance(
            try_to_load_from_cache(model.repository, name, revision=model.revision), str
        ):
            _knock(model, name)
        return Path(hf_hub_download(model.repository, name, revision=model.revision))
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        reason = f"the Hub has no public {model.repository} at {model.revision}"
        cause: Exception = error
    except RemoteEntryNotFoundError as error:
        reason, cause = f"the repository has no {name}", error
        hint = f"Name a repository or a folder that has {', '.join(MODEL_FILES)}."
    except Exception as error:
        # The library lets the errors of several HTTP clients through, depending on its version;
        # whatever it is, the file did not come. A full disk is told as such.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason, cause = reason_of(error), error
    raise NetworkError(
        f"{name} of {model.repository} could not be downloaded: {reason}.", hint
    ) from cause


def _knock(model: HubModel, name: str) -> None:
    """Raises ConnectionError if the Hub does not answer.

    It is asked once, with a short time limit: hf_hub_download would go on asking a silent server
    for more than six minutes. What it does about an answer such as 503, or when it is set to be
    offline, is left to it.
    """
    url = hf_hub_url(model.repository, name, revision=model.revision)
    try:
        get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (HfHubHTTPError, OfflineModeIsEnabled):
        pass
    except Exception as error:
        raise ConnectionError(
            f"{constants.ENDPOINT} cannot be reached ({reason_of(error)})"
        ) from error


def reason_of(error: Exception) -> str:
    """One short line out of the nested errors of the library."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        # It found nothing in its cache, but only looked there for the reason that it hides.
        error = error.__cause__
    if isinstance(error, HfHubHTTPError):
        return f"the server answered {error.response.status_code} {error.response.reason_phrase}"
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file another place, without a copy where that is possible."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
