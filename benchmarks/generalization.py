"""How good classifiers are on messages of sources that they were not trained on.

    python -m benchmarks.generalization LABELLED COLLECTION --workspace W [--folds 5] [--seeds 1]

LABELLED is a folder with the sources of `recipes/labelled.csv`, COLLECTION the raw
SMSSpamCollection. The origins of the sources are dealt into folds; for each fold, a classifier is
trained as the bundled one is, on all other origins, and the linear models on the same messages.
What is left out is scored as `spamgpt predict` reads it. A source of one label is told apart from
messages of the other label and its kind, of other origins, which were not trained on (`+`).

Temperature and threshold are chosen on what was left out in the *other* folds. A stopped run goes
on where it was; --disguised scores the messages also after disguising them.
"""

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

from benchmarks.disguise import disguised
from recipes.labelled import SOURCE, folds, read_messages, sample, sources
from recipes.many_sources import CHARACTERS, MOST, decision, train
from spamgpt.classifier.model import SpamClassifier
from spamgpt.data.rows import LABEL, TEXT
from spamgpt.evaluation.baselines import LINEAR_SVM, LOGISTIC, baselines
from spamgpt.evaluation.calibration import calibration_error
from spamgpt.workspace import Workspace

# So many messages of every source and label are scored, and so many set aside to pair others with.
SCORED, PAIRED = 300, 40
GPT2, NGRAMS, BOTH = "GPT-2", "n-grams", "spamgpt"
MODELS = (LOGISTIC, LINEAR_SVM, GPT2, NGRAMS, BOTH)
# Posts are told apart from comments, transcripts of calls from chats.
KINDS = {"post": "comment", "call": "chat"}


def score_fold(
    messages: pd.DataFrame, left_out: set[str], seed: int, disguise: bool, workspace: Workspace
) -> pd.DataFrame:
    """Log-odds of spam, a column for each model, for messages left out and those to pair them with.

    The column `paired` tells the two apart.
    """
    known = sources()
    others = messages[~messages[SOURCE].isin(left_out)]
    paired = sample(others, PAIRED, seed)
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
    if disguise:
        draw = random.Random(seed)
        scored[TEXT] = [disguised(text, draw) for text in scored[TEXT]]
    texts = list(scored[TEXT])
    classifier = SpamClassifier.from_artifact(workspace, artifact)
    both = _log_odds(classifier, texts)
    classifier.model.ngrams = None
    scored = scored.assign(**{BOTH: both, GPT2: _log_odds(classifier, texts)})
    scored[NGRAMS] = scored[BOTH] - scored[GPT2]
    learnt = sample(training, MOST, seed)
    learnt[TEXT] = learnt[TEXT].str.slice(0, CHARACTERS)
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


def table(by_fold: Mapping[int, pd.DataFrame]) -> Iterator[str]:
    """The lines of the table, the means over sources and kinds last."""
    known = sources()
    columns = [f"AUC, {name}" for name in MODELS]
    columns += [f"spam caught at 1 % of ham lost, {name}" for name in (LOGISTIC, LINEAR_SVM, BOTH)]
    columns += ["ham lost at the threshold", "spam caught there", "calibration error"]
    yield "| left out | kind | messages | " + " | ".join(columns) + " |"
    yield "|---|---|---:|" + "---:|" * len(columns)
    rows = []
    for fold, scores in by_fold.items():
        others = pd.concat([s for f, s in by_fold.items() if f != fold])
        temperature, threshold = decision(others[~others["paired"]], BOTH)
        for name in sorted(set(scores.loc[~scores["paired"], SOURCE])):
            found, paired = of_source(scores, name)
            spam = (found[LABEL] == "spam").to_numpy()
            probability = 1 / (1 + np.exp(-found[BOTH].to_numpy() / temperature))
            called = probability >= threshold
            own = (found[SOURCE] == name).to_numpy()
            of_ham, of_spam = own & ~spam, own & spam
            values = [roc_auc_score(spam, found[model]) for model in MODELS]
            values += [_caught(spam, found[model]) for model in (LOGISTIC, LINEAR_SVM, BOTH)]
            values += [_share(called, of_ham), _share(called, of_spam)]
            both = np.stack([1 - probability, probability], axis=1)
            values.append(calibration_error(spam[own].astype(int), both[own]))
            rows.append((name + ("+" if paired else ""), known[name].kind, len(found), values))
    for name, kind, count, values in sorted(rows, key=lambda row: (row[1], row[0])):
        yield f"| {name} | {kind} | {count:,} | {_cells(values)} |"
    for kind in (*sorted({row[1] for row in rows}), None):
        values = np.array([row[3] for row in rows if kind in (None, row[1])])
        name = "**mean**" if kind is None else f"*mean, {kind}*"
        yield f"| {name} | | | {_cells(np.nanmean(values, axis=0))} |"
    values = np.array([row[3] for row in rows])
    better = np.maximum(values[:, 0], values[:, 1])
    ahead = values[:, len(MODELS) - 1] - better
    lost = values[:, len(MODELS) + 3]
    yield ""
    yield (
        f"Against the better linear model of each source: {ahead.mean():+.3f} in the mean, ahead "
        f"on {(ahead > 0).mean():.0%} of the sources, at worst {ahead.min():+.3f}. Ham lost at the "
        f"threshold: {np.nanmedian(lost):.1%} in the median, {np.nanmax(lost):.1%} at most."
    )


def _caught(spam: np.ndarray, scores: pd.Series) -> float:
    lost, caught, _ = roc_curve(spam, scores)
    return float(caught[lost <= 0.01].max())


def _share(called: np.ndarray, of: np.ndarray) -> float:
    return float(called[of].mean()) if of.any() else float("nan")


def _cells(values: Sequence[float]) -> str:
    return " | ".join("" if np.isnan(value) else f"{value:.3f}" for value in values)


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--disguised", action="store_true")
    options = parser.parse_args()
    messages = read_messages(options.labelled, options.collection)
    by_fold = {}
    for fold, left_out in enumerate(folds(options.folds)):
        disguise = "-disguised" if options.disguised else ""
        file = (
            options.workspace / f"fold-{fold}-of-{options.folds}-seed-{options.seed}{disguise}.csv"
        )
        if not file.exists():
            workspace = Workspace(options.workspace / f"fold-{fold}")
            found = score_fold(messages, left_out, options.seed, options.disguised, workspace)
            found.to_csv(file, index=False)
        by_fold[fold] = pd.read_csv(file)
    for line in table(by_fold):
        print(line)


if __name__ == "__main__":
    main()
