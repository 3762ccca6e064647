"""SpamGPTClassifier: fine-tuning and prediction as an estimator of scikit-learn, no workspace."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from spamgpt.bundled import MINI_FOLDER, MINI_NAME
from spamgpt.classifier.config import ClassifierConfig, positive_label
from spamgpt.classifier.folder import ClassifierFiles, Sources, files_in
from spamgpt.classifier.formats.expressible import require_plain
from spamgpt.classifier.formats.reading import is_classifier, read_classifier
from spamgpt.classifier.model import SpamClassifier
from spamgpt.data.batches import tokenize
from spamgpt.device import Device, TrainingPrecision, resolve_device, resolve_precision
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.folder import FINETUNING_FILE, load_folder
from spamgpt.reporting import SILENT
from spamgpt.training.cache import ArrayCache
from spamgpt.training.finetuning import LabelledMessages, finetuning, with_trunks
from spamgpt.training.hyperparameters import (
    PUBLISHED_RECIPE,
    Hyperparameters,
    read_recommendations,
    with_recommendations,
)
from spamgpt.training.ngrams import fit_ngrams, stored
from spamgpt.training.policy import TrainingPolicy
from spamgpt.training.schedule import Schedule
from spamgpt.training.trunk import TrunkSpecification

Probabilities = npt.NDArray[np.float64]


class SpamGPTClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A GPT-2 that is fine-tuned to classify texts, as an estimator of scikit-learn.

    `X` is a sequence of texts (a list, an array, a column of a data frame), `y` their labels of any
    kind, two or more. It works wherever an estimator does: in pipelines, cross-validation, grid
    search, calibration.

    >>> from spamgpt import SpamGPTClassifier
    >>> texts = ["WIN a FREE prize now!!", "see you at 7", "Claim your FREE gift", "ok, at home"]
    >>> labels = ["spam", "ham", "spam", "ham"]
    >>> classifier = SpamGPTClassifier(epochs=4, device="cpu").fit(texts, labels)
    >>> classifier.predict(["URGENT! Claim your FREE prize", "see you at home"]).tolist()
    ['spam', 'ham']
    >>> classifier.predict_proba(["see you"]).shape
    (1, 2)

    Parameters
    ----------
    model
        What to start from: `mini`, the bundled GPT-2; the path of a model folder; a
        SpamClassifier, or the path of one. A classifier with the same labels is trained onward,
        of any other the head is replaced.
    unfreeze
        What to train: `head`, `last-block`, `last-N-blocks` or `all`.
    epochs, batch_size, learning_rate, weight_decay, schedule
        None: what the model recommends, or else the published recipe.
    ngrams
        Whether `fit` also fits a linear model on n-grams of the texts' bytes, tokens and words,
        whose logits are added to GPT-2's. None: what the model recommends; a classifier to start
        from keeps to what it has. `partial_fit` trains GPT-2 alone and leaves the linear model as
        `fit` has fitted it; where `fit` was not called, there is none.
    random_state
        Decides the initial head and the order of the batches.
    device
        `auto`, `cpu`, `cuda` or `mps`.
    precision
        That of the frozen blocks and of predictions: `auto`, `fp32` or `bf16`.

    Attributes
    ----------
    classes_
        The labels, (n_classes,), in the order of the columns of `predict_proba`.
    classifier_
        The SpamClassifier that answers, with all it can do: `explain`, `save_pretrained`,
        `to_huggingface`, `to_onnx`. Its labels are strings.
    """

    classes_: npt.NDArray[Any]
    classifier_: SpamClassifier
    _chosen: Hyperparameters
    _optimizer: dict[str, Any] | None

    def __init__(
        self,
        model: "str | Path | SpamClassifier" = MINI_NAME,
        *,
        unfreeze: str = "last-block",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        schedule: Schedule | None = None,
        ngrams: bool | None = None,
        random_state: "int | np.random.RandomState | None" = 123,
        device: Device = "auto",
        precision: TrainingPrecision = "auto",
    ) -> None:
        self.model = model
        self.unfreeze = unfreeze
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.ngrams = ngrams
        self.random_state = random_state
        self.device = device
        self.precision = precision

    def fit(self, X: Sequence[str], y: Sequence[Any]) -> Self:
        """Trains from the start, whatever was trained before.

        Raises ValueError or TypeError for texts and labels that are none or do not match, errors of
        spamgpt.errors for a model or a parameter that does not fit.
        """
        texts, labels = _checked(X, y)
        start = self._begin(np.unique(labels))
        self._train(start, self._chosen, texts, labels, fits_ngrams=self._chosen.ngrams)
        return self

    def partial_fit(
        self, X: Sequence[str], y: Sequence[Any], classes: Sequence[Any] | None = None
    ) -> Self:
        """Trains GPT-2 on: one pass over these texts, at a constant learning rate.

        The first call names all `classes` unless `y` has them; one after `fit` goes on from what
        that has trained. Raises as `fit`.
        """
        texts, labels = _checked(X, y)
        if hasattr(self, "classifier_"):
            start = self.classifier_.full_precision()
        else:
            start = self._begin(np.unique(labels if classes is None else column_or_1d(classes)))
        if unknown := sorted(set(labels.tolist()) - set(self.classes_.tolist())):
            raise ValueError(f"y has labels that are none of the classes: {unknown}")
        once = replace(self._chosen, epochs=1, schedule="constant", warmup=0.0)
        self._optimizer = self._train(start, once, texts, labels, self._optimizer)
        return self

    def predict_proba(self, X: Sequence[str]) -> Probabilities:
        """(n_texts, n_classes): the probability of each class."""
        check_is_fitted(self)
        return self.classifier_.predict_proba(_texts(X))

    def decision_function(self, X: Sequence[str]) -> Probabilities:
        """With two classes (n_texts,), the log-odds of the second; with more the log-probabilities.

        These are (n_texts, n_classes).
        """
        logs = np.log(np.maximum(self.predict_proba(X), np.finfo(np.float64).tiny))
        return logs[:, 1] - logs[:, 0] if len(self.classes_) == 2 else logs

    def predict(self, X: Sequence[str]) -> npt.NDArray[Any]:
        """(n_texts,): the most probable class of each text."""
        check_is_fitted(self)
        found: npt.NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    def _begin(self, classes: npt.NDArray[Any]) -> ClassifierFiles:
        """Sets what the training keeps to, and gives the classifier that it starts from."""
        if len(classes) < 2:
            raise ValueError(f"y needs two classes or more, and has 1 class: {classes}")
        self.classes_ = classes
        self._optimizer = None
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        recommended: dict[str, Any] = {}
        labels = [str(label) for label in classes.tolist()]
        config = ClassifierConfig(labels, positive_label(labels), 0.5, self.unfreeze)
        trained = _trained_before(self.model)
        if trained is not None:
            require_plain(trained.config, "SpamGPTClassifier")
            gpt2, tokenizer = trained.model.gpt2, trained.tokenizer
            tokenizer_file = trained.sources.tokenizer_file
            recommended["ngrams"] = trained.config.ngrams
        else:
            folder = MINI_FOLDER if self.model == MINI_NAME else Path(str(self.model))
            gpt2, tokenizer = load_folder(folder, merges_checked=folder == MINI_FOLDER)
            tokenizer_file = files_in(folder)
            if (folder / FINETUNING_FILE).is_file():
                recommended = read_recommendations(folder / FINETUNING_FILE, self.unfreeze)
        model = GPT2Classifier(gpt2, len(labels), seed)
        if trained is not None and sorted(trained.config.labels) == sorted(labels):
            # The same labels, perhaps in another order: their outputs are kept.
            rows = [trained.config.labels.index(label) for label in labels]
            with torch.no_grad():
                model.head.weight.copy_(trained.model.head.weight[rows])
                model.head.bias.copy_(trained.model.head.bias[rows])
        given = {k: v for k, v in self.get_params(deep=False).items() if k in PUBLISHED_RECIPE}
        chosen = with_recommendations(given, recommended, seed, keep_best=False)
        # Nothing is held out to be patient about.
        self._chosen = replace(chosen, patience=0)
        sources = Sources({}, tokenizer_file, None)
        return ClassifierFiles(model, tokenizer, config, None, 0, sources)

    def _train(
        self,
        start: ClassifierFiles,
        chosen: Hyperparameters,
        texts: Sequence[str],
        labels: npt.NDArray[Any],
        optimizer: dict[str, Any] | None = None,
        fits_ngrams: bool = False,
    ) -> dict[str, Any]:
        """Trains a classifier and takes it; gives the state of the optimizer."""
        device, model = resolve_device(self.device), start.model
        # GPT-2 is trained without them.
        ngrams, model.ngrams = model.ngrams, None
        context = model.gpt2.config.n_positions
        policy = TrainingPolicy.from_name(self.unfreeze, model.gpt2.config.n_layer)
        policy.apply(model)
        trunk = TrunkSpecification(
            "", policy.frozen_blocks, resolve_precision(self.precision, device), device
        )
        indices = torch.from_numpy(np.searchsorted(self.classes_, labels))
        training = LabelledMessages(tokenize(texts, start.tokenizer, context), indices)
        # Mapped files cannot be removed everywhere while the training holds them.
        with tempfile.TemporaryDirectory(prefix="spamgpt-", ignore_cleanup_errors=True) as cache:
            splits = {"train": training}
            if chosen.epochs > 1:
                kept = ArrayCache(Path(cache))
                splits = with_trunks(splits, model.gpt2, trunk, kept, SILENT, None)
            run = finetuning(model, policy, chosen, splits["train"], None, device, self.precision)
            if optimizer is not None:
                run.optimizer.load_state_dict(optimizer)
            run.run(SILENT, lambda record: None, lambda: None, lambda: False)
        tensors = model.state_dict()
        if fits_ngrams:
            spellings = start.tokenizer.spellings
            ngrams = fit_ngrams(spellings, training.messages, indices, len(self.classes_))
        if ngrams is not None:
            model.ngrams = ngrams
            tensors |= stored(ngrams)
        config = replace(start.config, ngrams=ngrams is not None)
        sources = replace(start.sources, tensors=tensors)
        files = replace(start, config=config, weights=None, unchanged=0, sources=sources)
        self.classifier_ = SpamClassifier(files, device, self.precision)
        return run.optimizer.state_dict()


def _trained_before(model: "str | Path | SpamClassifier") -> ClassifierFiles | None:
    """The classifier to start from, if it is one; None for a pretrained model."""
    if isinstance(model, SpamClassifier):
        return model.full_precision()
    path = Path(model)
    return read_classifier(path) if model != MINI_NAME and is_classifier(path) else None


def _checked(X: Sequence[str], y: Sequence[Any]) -> tuple[list[str], npt.NDArray[Any]]:
    """Texts and as many labels; raises ValueError or TypeError if they are none."""
    texts = _texts(X)
    if y is None:
        raise ValueError("This SpamGPTClassifier requires y to be passed, but the target y is None")
    labels = column_or_1d(y, warn=True)
    check_classification_targets(labels)
    check_consistent_length(texts, labels)
    if not texts:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    return texts, labels


def _texts(X: Sequence[str]) -> list[str]:
    """The texts as a list; raises TypeError if it is one text, or one of them is none."""
    if isinstance(X, str):
        raise TypeError("X is one string; give a list of texts")
    texts = X.tolist() if hasattr(X, "tolist") else list(X)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"X[{number}] is a {type(text).__name__}, not a text")
    return texts
