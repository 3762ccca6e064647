"""SpamClassifier: a fine-tuned model ready to answer, for the stages and for Python users."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from spamgpt.bundled import CLASSIFIER_FOLDER, MESSAGES_FILE, MINI_FOLDER
from spamgpt.classifier.base import TextClassifier
from spamgpt.classifier.config import CONFIG_FILE, TRAINED_FILE
from spamgpt.classifier.folder import ClassifierFiles, read_trained, write_saved
from spamgpt.classifier.formats.agreement import Agreement
from spamgpt.classifier.formats.bundle import bundle_bytes, from_bundle_bytes, write_bundle
from spamgpt.classifier.formats.huggingface import write_huggingface
from spamgpt.classifier.formats.onnx import write_onnx
from spamgpt.classifier.formats.reading import is_classifier, read_classifier
from spamgpt.classifier.inference import predict_logits
from spamgpt.data.batches import TokenizedMessages, tokenize, tokens_per_batch
from spamgpt.device import Device, Precision, resolve_device, resolve_precision
from spamgpt.errors import MissingInputError, UsageError
from spamgpt.gpt2.adapters import merge_adapters
from spamgpt.gpt2.backends.precision import lowered
from spamgpt.gpt2.backends.projections import fused_projections_pay
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.folder import MODEL_FILES, load_folder
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.pooling import MEANS
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import MANIFEST, Artifact, Workspace

# The agreement of an export is measured on so many messages, which takes seconds.
MOST_MEASURED = 500
# In narrower models than that the products are too small for threads to share.
_NARROW = 512
# Each process holds a few hundred megabytes.
_MOST_PROCESSES = 8
# To find the faster library for the products of narrower models is not worth the time.
_WIDE = 128


def load_model(artifact: Artifact) -> tuple[GPT2, Tokenizer]:
    """The pretrained model of an artifact, whose files are checked first.

    Raises IntegrityError for a damaged file, ModelFormatError for files that do not fit each other.
    """
    for name in MODEL_FILES:
        artifact.check(name)
    # Published files are known by their hashes, and all others were read when they were fetched.
    return load_folder(artifact.folder, merges_checked=True)


class SpamClassifier(TextClassifier):
    """A fine-tuned GPT-2. Each message is classified from its own tokens alone.

    `max_batch_tokens` is the maximum number of tokens in a batch; None chooses it by the device.

    Examples:
        >>> from spamgpt import SpamClassifier
        >>> classifier = SpamClassifier.bundled()  # or from_pretrained("workspace")
        >>> classifier.labels
        ['ham', 'spam']
        >>> texts = ["see you at 7 then", "WINNER! Claim your free prize now, call 09061701461"]
        >>> classifier.predict(texts)
        ['ham', 'spam']
        >>> classifier.predict_proba(texts).round(1).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        >>> max(classifier.explain(texts[1]), key=lambda span: span.weight).weight > 0
        True
        >>> classifier.to_bundle("filter.spamgpt")
        >>> SpamClassifier.from_pretrained("filter.spamgpt").predict(texts)
        ['ham', 'spam']
    """

    def __init__(
        self,
        files: ClassifierFiles,
        device: torch.device,
        precision: Precision = "auto",
        max_batch_tokens: int | None = None,
    ) -> None:
        """Puts what was read from files on a device and lowers the precision of its products."""
        self.model = files.model.to(device).eval()
        shape = self.model.gpt2.config
        self.model.gpt2 = lowered(
            self.model.gpt2,
            shape.n_layer,
            resolve_precision(precision, device),
            files.weights,
            unchanged=files.unchanged,
            one_only=files.config.pooling not in MEANS,
            fused=device.type == "cpu" and shape.n_embd >= _WIDE and fused_projections_pay(),
        )
        merge_adapters(self.model.gpt2)
        self.tokenizer = files.tokenizer
        # What is saved or exported of it has no adapters any more.
        self.config = replace(files.config, lora=None)
        self.device = device
        self.max_batch_tokens = max_batch_tokens
        self._sources = files.sources
        self._precision: Precision = precision

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path = "workspace",
        classifier: str | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        max_batch_tokens: int | None = None,
    ) -> "SpamClassifier":
        """Loads a classifier of a workspace, the newest or the one named (`v2`).

        `path` may also be the folder of one classifier in a workspace, one that `save_pretrained`
        or `to_huggingface` wrote, or a bundle. `precision` is that of the matrix products: fp32,
        bf16, int8, or auto, the faster of the first two. Raises errors of spamgpt.errors:
        MissingInputError if there is no classifier, IntegrityError if a file is damaged,
        BadDataError if one does not fit.
        """
        path = Path(path)
        in_workspace = (path / MANIFEST).exists()
        saved = not in_workspace and is_classifier(path)
        if classifier is not None and (in_workspace or saved):
            raise UsageError(
                f"{path} holds one classifier only: {classifier!r} cannot be chosen.",
                "Give the folder of the workspace, or leave `classifier` out.",
            )
        if saved:
            files = read_classifier(path)
            return cls(files, resolve_device(device), precision, max_batch_tokens)
        if in_workspace:
            path = path.absolute()
            if path.parent.name != "classifiers":
                raise MissingInputError(
                    f"{path} is an artifact, but not a classifier.",
                    "Give the folder of a workspace or of a classifier.",
                )
            workspace = Workspace(path.parent.parent)
            artifact = workspace.read(path)
        else:
            workspace = Workspace(path)
            artifact = workspace.newest("classifiers", classifier)
        return cls.from_artifact(workspace, artifact, device, precision, max_batch_tokens)

    @classmethod
    def from_artifact(
        cls,
        workspace: Workspace,
        artifact: Artifact,
        device: Device = "auto",
        precision: Precision = "auto",
        max_batch_tokens: int | None = None,
    ) -> "SpamClassifier":
        """The classifier of an artifact: the tensors that training changed, over its model's.

        Raises as `from_pretrained`.
        """
        for name in (CONFIG_FILE, TRAINED_FILE):
            artifact.check(name)
        pretrained = workspace.input_of(artifact, "models")
        files = read_trained(artifact.folder, load_model(pretrained), pretrained.folder)
        return cls(files, resolve_device(device), precision, max_batch_tokens)

    @classmethod
    def bundled(
        cls,
        device: Device = "auto",
        precision: Precision = "auto",
        max_batch_tokens: int | None = None,
    ) -> "SpamClassifier":
        """The classifier that comes with the package, for English SMS, mail, chat and comments.

        Its model card stands beside it, in `spamgpt/assets/classifier`.
        """
        pretrained = load_folder(MINI_FOLDER, merges_checked=True)
        files = read_trained(CLASSIFIER_FOLDER, pretrained, MINI_FOLDER)
        return cls(files, resolve_device(device), precision, max_batch_tokens)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes one self-contained folder, which `from_pretrained` loads without a workspace.

        The weights are those of the files that this classifier was loaded from, in their precision,
        whatever `precision` it computes in. Raises UsageError if the folder exists and
        is not empty, OSError if it cannot be written; then nothing is left behind.
        """
        write_saved(Path(folder), self.model.gpt2.config, self.config, self._sources)

    def to_huggingface(
        self,
        folder: str | Path,
        without_ngrams: bool = False,
        texts: Sequence[str] | None = None,
    ) -> Agreement | None:
        """Writes a folder that transformers loads as a sequence classifier, with a pipeline's ease.

        With `without_ngrams`, a classifier that has them leaves as GPT-2 alone; this returns how
        well that agrees with both together, measured as for `to_onnx`, and the card tells it.
        Raises UsageError if the folder exists and is not empty, or transformers cannot express this
        classifier: how it reads messages, or its n-grams.
        """
        config, sources, agreement = self.config, self._sources, None
        if without_ngrams and config.ngrams:
            exact, messages = self._measured(texts)
            alone = GPT2Classifier(
                exact.model.gpt2,
                len(self.labels),
                pooling=config.pooling,
                attention=config.attention,
            )
            alone.head = exact.model.head
            read = config.read(messages, self.tokenizer.end_of_text)
            found = config.probabilities(predict_logits(alone, read, self.device))
            agreement = Agreement.between(config, exact.window_probabilities(messages), found)
            config = replace(config, ngrams=False)
            of_gpt2 = {n: t for n, t in sources.tensors.items() if not n.startswith("ngrams.")}
            sources = replace(sources, tensors=of_gpt2)
        write_huggingface(Path(folder), self.model.gpt2.config, config, sources, agreement)
        return agreement

    def to_bundle(self, file: str | Path) -> None:
        """Writes one file with everything in it, which `from_pretrained` loads.

        Raises UsageError if it exists.
        """
        write_bundle(Path(file), self.model.gpt2.config, self.config, self._sources)

    def to_onnx(
        self, file: str | Path, int8: bool = False, texts: Sequence[str] | None = None
    ) -> Agreement:
        """Writes an ONNX file and an example of its use; returns how well onnxruntime agrees.

        That is measured on `texts`, by default on bundled messages, cut at the context. With `int8`
        the weights of the blocks take a quarter of the space, and answers differ a little. Needs
        the extra `onnx`. Raises UsageError if a file exists, or ONNX cannot express how this
        classifier reads messages.
        """
        exact, messages = self._measured(texts)
        return write_onnx(
            Path(file),
            self.model.gpt2.config,
            self.config,
            self._sources,
            self.model.ngrams,
            self.tokenizer,
            messages.token_ids,
            exact.window_probabilities(messages),
            int8,
        )

    def _measured(self, texts: Sequence[str] | None) -> "tuple[SpamClassifier, TokenizedMessages]":
        """What an export is measured against, in full precision, and on what."""
        if texts is None:
            from spamgpt.data.rows import TEXT
            from spamgpt.data.tables import read_table

            texts = list(read_table(MESSAGES_FILE)[TEXT])[:MOST_MEASURED]
        exact = self
        if resolve_precision(self._precision, self.device) != torch.float32:
            exact = SpamClassifier(self.full_precision(), self.device, "fp32")
        return exact, tokenize(texts, self.tokenizer, self.context)

    def full_precision(self) -> ClassifierFiles:
        """A copy of what this classifier was loaded from, on the CPU: something to train on."""
        return from_bundle_bytes(self.bundle())

    def bundle(self) -> bytes:
        """What `to_bundle` writes, for `from_bundle` elsewhere."""
        return bundle_bytes(self.model.gpt2.config, self.config, self._sources)

    @classmethod
    def from_bundle(
        cls,
        content: bytes,
        device: Device = "auto",
        precision: Precision = "auto",
        max_batch_tokens: int | None = None,
    ) -> "SpamClassifier":
        """The classifier that `bundle` gave. Raises BadDataError for anything else."""
        files = from_bundle_bytes(content)
        return cls(files, resolve_device(device), precision, max_batch_tokens)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the bundle; it is loaded on the same device in the same precision."""
        chosen = self.device.type, self._precision, self.max_batch_tokens
        return SpamClassifier.from_bundle, (self.bundle(), *chosen)

    @property
    def batch_tokens(self) -> int:
        """How many tokens are best computed together: `max_batch_tokens`, or what suits."""
        suited = tokens_per_batch(self.device, self.model.gpt2.config.n_embd)
        return self.max_batch_tokens or suited

    @property
    def processes(self) -> int:
        """In how many processes, of one thread each, many messages are answered fastest."""
        if self.device.type != "cpu" or self.model.gpt2.config.n_embd > _NARROW:
            return 1
        return min(torch.get_num_threads(), _MOST_PROCESSES)

    @property
    def card(self) -> str | None:
        """The model card (Markdown) that it was loaded with."""
        card = self._sources.card
        return None if card is None else card.decode("utf-8", "replace")

    @property
    def context(self) -> int:
        """The most tokens read at once, the model's context or the padding; more are windows."""
        return self.config.padding or self.model.gpt2.config.n_positions

    def window_probabilities(
        self, windows: TokenizedMessages, reporter: Reporter = SILENT
    ) -> npt.NDArray[np.float64]:
        """(windows, labels): the probability of each label for messages that fit the context."""
        with reporter.task("Scoring", len(windows), "messages") as task:
            logits = predict_logits(
                self.model,
                self.config.read(windows, self.tokenizer.end_of_text),
                self.device,
                task.advance,
                max_batch_tokens=self.max_batch_tokens,
            )
        return self.config.probabilities(logits)
