"""SpamClassifier: a fine-tuned model ready to answer, for the stages and for Python users."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from spamgpt.bundled import CLASSIFIER_FOLDER, MINI_FOLDER
from spamgpt.classifier.inference import classify
from spamgpt.data.batches import tokenize_in_windows
from spamgpt.device import Device, Precision, resolve_device, resolve_precision
from spamgpt.errors import IntegrityError
from spamgpt.gpt2.backends.precision import lowered
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.folder import MODEL_FILES, WEIGHTS_FILE, load_folder
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.reporting import SILENT, Reporter
from spamgpt.training.policy import TrainingPolicy
from spamgpt.workspace import MANIFEST, Artifact, Workspace

CONFIG_FILE = "config.json"
TRAINED_FILE = "trained.safetensors"


@dataclass(frozen=True)
class ClassifierConfig:
    """What a classifier is besides its tensors.

    With two labels, a message gets `positive_label` if its probability is at least `threshold`;
    with more, it gets the most probable label. Logits are divided by `temperature` before they
    become probabilities (Guo et al. 2017).
    """

    labels: list[str]
    positive_label: str
    threshold: float
    unfreeze: str
    temperature: float = 1.0

    @classmethod
    def from_file(cls, path: Path) -> "ClassifierConfig":
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")

    def probabilities(self, logits: torch.Tensor) -> npt.NDArray[np.float64]:
        """(messages, labels) -> the same shape: what each label's logit says of a message."""
        return (logits.double() / self.temperature).softmax(dim=1).numpy()

    def combine(
        self, of_windows: npt.NDArray[np.float64], offsets: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """(windows, labels) -> (messages, labels): message i has the windows from `offsets[i]` on.

        With two labels a message is as likely of the positive one as its most suspicious window, so
        that no length of harmless text hides spam; with more, the mean over the windows counts.
        """
        if len(of_windows) == len(offsets) - 1:
            return of_windows
        parts = [of_windows[start:end] for start, end in pairwise(offsets)]
        if len(self.labels) > 2:
            return np.stack([part.mean(axis=0) for part in parts])
        positive = self.labels.index(self.positive_label)
        return np.stack([part[part[:, positive].argmax()] for part in parts])

    def decide(
        self, probabilities: npt.NDArray[np.float64], threshold: float | None = None
    ) -> list[str]:
        """(messages, labels) -> the label of each message."""
        if len(self.labels) > 2:
            return [self.labels[index] for index in probabilities.argmax(axis=1)]
        positive = self.labels.index(self.positive_label)
        limit = self.threshold if threshold is None else threshold
        return [
            self.labels[positive if row[positive] >= limit else 1 - positive]
            for row in probabilities
        ]


def load_model(artifact: Artifact) -> tuple[GPT2, Tokenizer]:
    """The pretrained model of an artifact, whose files are checked first.

    Raises IntegrityError for a damaged file, ModelFormatError for files that do not fit each other.
    """
    for name in MODEL_FILES:
        artifact.check(name)
    # Published files are known by their hashes, and all others were read when they were fetched.
    return load_folder(artifact.folder, merges_checked=True)


def positive_label(labels: Sequence[str]) -> str:
    """The label that precision and recall are about: `spam` if there is one, else the last."""
    return "spam" if "spam" in labels else labels[-1]


@dataclass(frozen=True)
class Scores:
    """(messages, labels) probabilities, and in how many windows each message was read."""

    probabilities: npt.NDArray[np.float64]
    windows: list[int]


class SpamClassifier:
    """A fine-tuned GPT-2. Each message is classified from its own tokens alone."""

    def __init__(
        self,
        model: GPT2Classifier,
        tokenizer: Tokenizer,
        config: ClassifierConfig,
        device: torch.device,
        precision: Precision = "auto",
        weights: Path | None = None,
    ) -> None:
        """`weights` is the file that the frozen blocks were mapped from, if they were."""
        self.model = model.to(device).eval()
        dtype, n_layer = resolve_precision(precision, device), model.gpt2.config.n_layer
        frozen = TrainingPolicy.from_name(config.unfreeze, n_layer).frozen_blocks
        self.model.gpt2 = lowered(model.gpt2, n_layer, dtype, weights, unchanged=frozen)
        self.tokenizer = tokenizer
        self.config = config
        self.device = device

    @classmethod
    def load(
        cls,
        path: str | Path = "workspace",
        classifier: str | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
    ) -> "SpamClassifier":
        """Loads a classifier of a workspace, the newest or the one named (`v2`).

        `path` may also be the folder of one classifier in a workspace. `precision` is that of the
        matrix products: fp32, bf16, int8, or auto, the faster of the first two. Raises those of
        spamgpt.errors: MissingInputError if there is none, IntegrityError if a file is damaged.
        """
        path = Path(path)
        if (path / MANIFEST).exists():
            workspace = Workspace(path.absolute().parent.parent)
            artifact = workspace.read(path.absolute())
        else:
            workspace = Workspace(path)
            artifact = workspace.newest("classifiers", classifier)
        return cls.from_artifact(workspace, artifact, device, precision)

    @classmethod
    def from_artifact(
        cls,
        workspace: Workspace,
        artifact: Artifact,
        device: Device = "auto",
        precision: Precision = "auto",
    ) -> "SpamClassifier":
        """The classifier of an artifact: the tensors that training changed, over its model's."""
        for name in (CONFIG_FILE, TRAINED_FILE):
            artifact.check(name)
        model = workspace.input_of(artifact, "models")
        return cls._over(load_model(model), model.folder, artifact.folder, device, precision)

    @classmethod
    def bundled(cls, device: Device = "auto", precision: Precision = "auto") -> "SpamClassifier":
        """The classifier that comes with the package: English SMS and short mail, spam or ham.

        Its model card stands beside it, in `spamgpt/assets/classifier`.
        """
        loaded = load_folder(MINI_FOLDER, merges_checked=True)
        return cls._over(loaded, MINI_FOLDER, CLASSIFIER_FOLDER, device, precision)

    @classmethod
    def _over(
        cls,
        loaded: tuple[GPT2, Tokenizer],
        model_folder: Path,
        folder: Path,
        device: Device,
        precision: Precision,
    ) -> "SpamClassifier":
        """The classifier of a folder over the model that it was trained from."""
        gpt2, tokenizer = loaded
        config = ClassifierConfig.from_file(folder / CONFIG_FILE)
        model = GPT2Classifier(gpt2, len(config.labels))
        try:
            trained = load_file(folder / TRAINED_FILE)
        except SafetensorError as error:
            raise IntegrityError(
                f"{folder / TRAINED_FILE} is damaged: {error}.", "Train again: spamgpt finetune"
            ) from error
        widened = {name: tensor.float() for name, tensor in trained.items()}
        model.load_state_dict(widened, strict=False, assign=True)
        weights = model_folder / WEIGHTS_FILE
        return cls(model, tokenizer, config, resolve_device(device), precision, weights)

    @property
    def labels(self) -> list[str]:
        return self.config.labels

    @property
    def context(self) -> int:
        """The most tokens that are read at once; a longer message is read in windows."""
        return self.model.gpt2.config.n_positions

    def score(self, texts: Sequence[str], reporter: Reporter = SILENT) -> Scores:
        """The probability of each label for each message, in the order of `labels`.

        A message longer than the context is read in windows that overlap by half
        (`ClassifierConfig.combine`).
        """
        if isinstance(texts, str):
            raise TypeError("texts is one string; give a list of messages")
        if not texts:
            return Scores(np.empty((0, len(self.labels))), [])
        # The same text is scored once.
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        cut = tokenize_in_windows(list(places), self.tokenizer, self.context)
        with reporter.task("Scoring", len(cut.messages), "messages") as task:
            logits = classify(self.model, cut.messages, self.device, task.advance)
        probabilities = self.config.combine(self.config.probabilities(logits), cut.offsets)
        wanted, counts = [places[text] for text in texts], cut.counts
        return Scores(probabilities[wanted], [counts[place] for place in wanted])

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """(messages, labels): the probability of each label, in the order of `labels`."""
        return self.score(texts).probabilities

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The label of each message."""
        return self.config.decide(self.predict_proba(texts))
