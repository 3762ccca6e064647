"""How good classifiers are on messages of sources that they were not trained on.

    python -m benchmarks.generalization LABELLED COLLECTION --workspace W [--folds 10] [--seed 1]

LABELLED is a folder with the sources of `recipes/labelled.csv`, COLLECTION the raw
SMSSpamCollection. The origins of the sources are dealt into folds; for each fold, a classifier is
trained as the bundled one is, on all other origins, and the linear models on the same messages.
What is left out is scored as `spamgpt predict` reads it. A source of one label is told apart from
messages of the other label and its kind, of other origins, which were not trained on (`+`).

Temperature and threshold are chosen on what was left out in the *other* folds. Every message is
also scored as spammers disguise it. A stopped run goes on where it was.
"""

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from recipes.disguise import disguised
from recipes.labelled import folds, read_messages, sample, sources
from recipes.many_sources import NGRAMS_CHARACTERS, NGRAMS_MOST, decision, fit, train
from spamgpt.classifier.model import SpamClassifier
from spamgpt.data.rows import LABEL, SOURCE, TEXT
from spamgpt.evaluation.baselines import LINEAR_SVM, LOGISTIC, baselines
from spamgpt.evaluation.calibration import calibration_error
from spamgpt.markdown import Markdown
from spamgpt.markdown import table as markdown_table
from spamgpt.workspace import Workspace

# So many messages of every source and label are scored, and so many set aside to pair others with.
SCORED, PAIRED = 150, 30
FOLDS, SEED = 10, 1
GPT2, NGRAMS, BOTH = "GPT-2", "n-grams", "spamgpt"
DISGUISED = "spamgpt, disguised"
MODELS = (LOGISTIC, LINEAR_SVM, GPT2, NGRAMS, BOTH, DISGUISED)
# Posts are told apart from comments, transcripts of calls from chats.
KINDS = {"post": "comment", "call": "chat"}


def score_fold(
    messages: pd.DataFrame, left_out: set[str], seed: int, workspace: Workspace
) -> pd.DataFrame:
    """Log-odds of spam, a column for each model, for messages left out and those to pair them with.

    The column `paired` tells the two apart.
    """
    known = sources()
    others = messages[~messages[SOURCE].isin(left_out)]
    collected = [name for name, source in known.items() if source.scored]
    paired = sample(others[others[SOURCE].isin(collected)], PAIRED, seed)
    allowed = [name for name, source in known.items() if source.trained_on]
    training = others[others[SOURCE].isin(allowed) & ~others[TEXT].isin(paired[TEXT])]
    artifact = train(training, seed, workspace)
    scored = pd.concat(
        [
            sample(messages[messages[SOURCE].isin(left_out)], SCORED, seed).assign(paired=False),
            paired.assign(paired=True),
        ],
        ignore_index=True,
    )
    texts = list(scored[TEXT])
    classifier = SpamClassifier.from_artifact(workspace, artifact)
    scored[GPT2] = _log_odds(classifier, texts)
    classifier.model.ngrams = ngrams = fit(training, seed, classifier)
    scored[BOTH] = _log_odds(classifier, texts)
    scored[DISGUISED] = _log_odds(
        classifier, [disguised(text, random.Random(number)) for number, text in enumerate(texts)]
    )
    # Without caution the logits are the sum of both models'.
    torch.nn.init.zeros_(ngrams.caution)
    scored[NGRAMS] = _log_odds(classifier, texts) - scored[GPT2]
    learnt = sample(training, NGRAMS_MOST, seed)
    learnt[TEXT] = learnt[TEXT].str.slice(0, NGRAMS_CHARACTERS)
    for name, outcome in baselines(
        list(learnt[TEXT]), list(learnt[LABEL]), texts, list(scored[LABEL]), ["ham", "spam"], "spam"
    ):
        if name in MODELS:
            scores = np.asarray(outcome.scores)
            if name == LOGISTIC:
                scores = np.log(np.clip(scores, 1e-12, None))
            scored[name] = scores[:, 1] - scores[:, 0]
    return scored.drop(columns=TEXT)


def _log_odds(classifier: SpamClassifier, texts: Sequence[str]) -> np.ndarray:
    probabilities = np.clip(classifier.predict_proba(texts), 1e-12, None)
    spam = classifier.labels.index("spam")
    # The temperature that fine-tuning fitted is taken out again: it is chosen anew.
    odds = np.log(probabilities[:, spam]) - np.log(probabilities[:, 1 - spam])
    return odds * classifier.config.temperature


def of_source(scores: pd.DataFrame, name: str) -> tuple[pd.DataFrame, bool]:
    """The messages of a source, and whether those of the other label are of others."""
    own = scores[(scores[SOURCE] == name) & ~scores["paired"]]
    if own[LABEL].nunique() > 1:
        return own, False
    known = sources()

    def kind(source: str) -> str:
        return KINDS.get(known[source].kind, known[source].kind)

    alike = scores[SOURCE].map(kind) == kind(name)
    others = scores["paired"] & alike & (scores[LABEL] != own[LABEL].iloc[0])
    return pd.concat([own, scores[others]]), True


def results(by_fold: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """A row of figures for each source left out; `+` marks one paired with messages of others."""
    known = sources()
    rows = []
    for scores in _decided(by_fold):
        for name in sorted(set(scores.loc[~scores["paired"], SOURCE])):
            found, paired = of_source(scores, name)
            spam = (found[LABEL] == "spam").to_numpy()
            called = found["called"].to_numpy()
            own = (found[SOURCE] == name).to_numpy()
            linear = max(roc_auc_score(spam, found[model]) for model in (LOGISTIC, LINEAR_SVM))
            rows.append(
                {
                    "left out": name + "+" * paired,
                    "kind": known[name].kind,
                    "messages": len(found),
                    **{f"AUC, {model}": roc_auc_score(spam, found[model]) for model in MODELS},
                    "AUC, better linear": linear,
                    **{
                        f"spam caught at 1 % of ham lost, {model}": _caught(spam, found[model])
                        for model in (LOGISTIC, LINEAR_SVM, BOTH)
                    },
                    "ham lost": _share(called, own & ~spam),
                    "spam caught": _share(called, own & spam),
                    "calibration error": _calibration_error(found[own]),
                }
            )
    return pd.DataFrame(rows).sort_values(["kind", "left out"], ignore_index=True)


def _decided(by_fold: Mapping[int, pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The scores of each fold with the columns `probability`, of spam, and `called`, spam or not.

    The other folds choose temperature and threshold.
    """
    for fold, scores in by_fold.items():
        others = pd.concat([s for f, s in by_fold.items() if f != fold])
        temperature, threshold = decision(others[~others["paired"]], BOTH)
        probability = 1 / (1 + np.exp(-scores[BOTH] / temperature))
        yield scores.assign(probability=probability, called=probability >= threshold)


def calibration_of_all(by_fold: Mapping[int, pd.DataFrame]) -> float:
    """The calibration error over the messages of all sources left out together."""
    scores = pd.concat(list(_decided(by_fold)))
    return _calibration_error(scores[~scores["paired"]])


def _calibration_error(scores: pd.DataFrame) -> float:
    probability = scores["probability"].to_numpy()
    spam = (scores[LABEL] == "spam").to_numpy().astype(int)
    return calibration_error(spam, np.stack([1 - probability, probability], axis=1))


def table(found: pd.DataFrame, columns: Sequence[str] | None = None) -> Markdown:
    """A Markdown table of some columns, the means over kinds and sources last."""
    about, figures = list(found.columns[:3]), list(columns or found.columns[3:])
    rows = [
        [row["left out"], row["kind"], f"{row['messages']:,}", *_cells(row[figures])]
        for _, row in found.iterrows()
    ]
    for name, kind, part in (
        *((Markdown("*mean*"), kind, part) for kind, part in found.groupby("kind")),
        (Markdown("**mean**"), "", found),
    ):
        rows.append([name, kind, f"{part['messages'].sum():,}", *_cells(part[figures].mean())])
    return markdown_table([*about, *figures], rows, left=2)


def summary(by_fold: Mapping[int, pd.DataFrame], found: pd.DataFrame) -> str:
    """The comparison with the linear models, how the threshold holds and the probabilities."""
    ahead = found[f"AUC, {BOTH}"] - found["AUC, better linear"]
    lost = found[f"AUC, {BOTH}"] - found[f"AUC, {DISGUISED}"]
    together = calibration_of_all(by_fold)
    return (
        f"Against the better linear model of each source the area under the ROC curve is "
        f"{ahead.mean():+.3f} in the mean, ahead on {(ahead > 0).mean():.0%} of the sources, at "
        f"worst {ahead.min():+.3f}; disguise costs {lost.mean():.3f} of it. The threshold loses "
        f"{found['ham lost'].median():.1%} of the ham of a source left out in the median, at most "
        f"{found['ham lost'].max():.1%}. The calibration error is {together:.3f} "
        f"over all sources together and {found['calibration error'].mean():.3f} in the mean of "
        f"their own."
    )


def _caught(spam: np.ndarray, scores: pd.Series) -> float:
    lost, caught, _ = roc_curve(spam, scores)
    return float(caught[lost <= 0.01].max())


def _share(called: np.ndarray, of: np.ndarray) -> float:
    return float(called[of].mean()) if of.any() else float("nan")


def _cells(values: pd.Series) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.3f}" for value in values]


def _file(workspace: Path, fold: int, count: int, seed: int) -> Path:
    return workspace / f"fold-{fold}-of-{count}-seed-{seed}.csv"


def read_folds(workspace: Path, count: int = FOLDS, seed: int = SEED) -> dict[int, pd.DataFrame]:
    """What a run has left in its workspace so far, by fold."""
    files = {fold: _file(workspace, fold, count, seed) for fold in range(count)}
    return {fold: pd.read_csv(file) for fold, file in files.items() if file.exists()}


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    messages = read_messages(options.labelled, options.collection)
    by_fold = {}
    for fold, left_out in enumerate(folds(options.folds)):
        file = _file(options.workspace, fold, options.folds, options.seed)
        if not file.exists():
            workspace = Workspace(options.workspace / f"fold-{fold}")
            found = score_fold(messages, left_out, options.seed, workspace)
            found.to_csv(file, index=False)
        by_fold[fold] = pd.read_csv(file)
    found = results(by_fold)
    print(table(found))
    print(f"\n{summary(by_fold, found)}")


if __name__ == "__main__":
    main()
