"""Pre-trained models: pinned revisions on the Hugging Face Hub, other repositories, folders."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars

from spamgpt.errors import IntegrityError, MissingInputError, NetworkError, UsageError
from spamgpt.gpt2.folder import CONFIG_FILE, MODEL_FILES, TOKENIZER_FILES, WEIGHTS_FILE
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


def model_name(source: str) -> str:
    """The artifact name of a model; raises UsageError or MissingInputError for an unknown one."""
    if source in PUBLISHED_MODELS:
        return source
    if source.startswith("hf:"):
        return artifact_name(_parse_repository(source).repository.replace("/", "--"))
    if Path(source).is_dir():
        return artifact_name(Path(source).resolve().name)
    raise MissingInputError(
        f"There is no model {source!r}.",
        f"Give one of {', '.join(PUBLISHED_MODELS)}, a folder, or hf:owner/name@revision.",
    )


def obtain_model(
    source: str, folder: Path, reporter: Reporter, with_weights: bool = True
) -> FetchedModel:
    """Puts the files of a model into a folder, linked from the Hub's cache where that is possible.

    Without `with_weights` the weight file is left out. Raises NetworkError, IntegrityError or
    MissingInputError; a downloaded file with a wrong hash is removed from the cache.
    """
    wanted = [CONFIG_FILE, *TOKENIZER_FILES] + [WEIGHTS_FILE] * with_weights
    if source in PUBLISHED_MODELS or source.startswith("hf:"):
        model = PUBLISHED_MODELS.get(source) or _parse_repository(source)
        return _from_hub(model, wanted, folder, reporter)
    return _from_folder(Path(source), wanted, folder)


def _parse_repository(source: str) -> HubModel:
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)@([\w./-]+)", source)
    if not match:
        raise UsageError(
            f"--model {source} does not name a repository and a revision.",
            "Write hf:owner/name@revision, the revision being a commit, tag or branch.",
        )
    return HubModel(source, match[1], match[2], {})


def _from_folder(source: Path, wanted: Sequence[str], folder: Path) -> FetchedModel:
    missing = [name for name in wanted if not (source / name).is_file()]
    if missing:
        hint = "It needs " + ", ".join(MODEL_FILES)
        if missing == [WEIGHTS_FILE]:
            hint += "; for a model without weights, use --weights random"
        raise MissingInputError(f"{source} has no {', '.join(missing)}.", hint + ".")
    for name in wanted:
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
        cached = _download(model, name)
        digests[name] = sha256(cached)
        expected = model.sha256.get(name, digests[name])
        if digests[name] != expected:
            # Otherwise every later attempt would be served the same wrong file.
            cached.resolve().unlink(missing_ok=True)
            cached.unlink(missing_ok=True)
            raise IntegrityError(
                f"{model.repository}: {name} is not the published file: SHA-256 is "
                f"{digests[name]}, expected {expected}.",
                "Try again or without HF_ENDPOINT, or give a folder that you trust: --model FOLDER",
            )
        _link_or_copy(cached.resolve(), folder / name)
    return FetchedModel(digests, f"{model.repository}@{model.revision}")


def _download(model: HubModel, name: str) -> Path:
    """The path of a file in the Hub's cache, downloaded if need be (a broken transfer resumes)."""
    try:
        return Path(hf_hub_download(model.repository, name, revision=model.revision))
    except (
        RepositoryNotFoundError,
        RevisionNotFoundError,
        GatedRepoError,
        HFValidationError,
    ) as error:
        reason = f"the Hub has no public {model.repository} at {model.revision}"
        cause: Exception = error
    except LocalEntryNotFoundError as error:
        reason, cause = "the Hub cannot be reached and its cache does not hold the file", error
    except EntryNotFoundError as error:
        reason, cause = f"the repository has no {name}", error
    except Exception as error:
        # The library lets the errors of several HTTP clients through, depending on its version;
        # whatever it is, the file did not come. A full disk is told as such.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason, cause = str(error).splitlines()[0].rstrip("."), error
    raise NetworkError(
        f"{name} of {model.repository} could not be downloaded: {reason}.",
        "Check the network, set HF_ENDPOINT to a mirror, or give a local folder: --model FOLDER",
    ) from cause


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
