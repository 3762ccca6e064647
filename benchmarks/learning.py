"""How a filter gets better by corrections: python -m benchmarks.learning SMSSpamCollection

Mini is fine-tuned on 500 messages of the collection. The stream of the others comes in 20 parts; in
each, 25 messages are corrected, those that the classifier gets wrong first and then those that it
is least sure of, and it learns (`spamgpt learn --train`). bogofilter, if it is installed, learns in
the same way on the same stream: from the same 500 messages, then from the 25 that it itself gets
wrong or is least sure of. Every accuracy is on the same fifth of the collection, which nobody
learns from. The end is compared with training on the 500 messages and the whole stream.

Without repeats; a message gets its more probable label (`--threshold-for accuracy`), bogofilter's
by its own cut. --draw FILE draws the curve. Give --workspace to look at what was trained.
"""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import train_test_split

from spamgpt.classifier.model import SpamClassifier
from spamgpt.data.corrections import Corrections
from spamgpt.data.rows import LABEL, TEXT
from spamgpt.data.splits import drop_repeats
from spamgpt.data.tables import read_labelled_file, write_table
from spamgpt.evaluation.intervals import mcnemar, wilson_interval
from spamgpt.stages import fetch, finetune, learn, prepare
from spamgpt.workspace import Artifact, Workspace

FIRST, ROUNDS, PER_ROUND = 500, 20, 25
TESTED = 0.2
# One message is left for the test split: what is tested here is kept apart.
SPLIT = "80/19/1"
# bogofilter's own: from here on it says that a message is spam.
CUT = 0.99
Scores = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Messages:
    """The messages to begin with, those that come, and those to test on."""

    first: pd.DataFrame
    stream: pd.DataFrame
    test: pd.DataFrame


def read_messages(collection: Path, seed: int) -> Messages:
    """Draws the three from the collection, each with its share of spam."""
    messages = drop_repeats(read_labelled_file(collection))
    rest, test = train_test_split(
        messages, test_size=TESTED, stratify=messages[LABEL], random_state=seed
    )
    first, stream = train_test_split(
        rest, train_size=FIRST, stratify=rest[LABEL], random_state=seed
    )
    return Messages(*(part.reset_index(drop=True) for part in (first, stream, test)))


def to_correct(part: pd.DataFrame, scores: Scores, cut: float) -> pd.DataFrame:
    """The messages that are corrected: the mistakes first, then the least certain."""
    wrong = (scores >= cut) != (part[LABEL] == "spam")
    order = np.lexsort((np.abs(scores - 0.5), ~wrong))
    return part.iloc[order[:PER_ROUND]]


def rounds(
    messages: Messages,
    scores: Callable[[Sequence[str]], Scores],
    teach: Callable[[pd.DataFrame], None],
    cut: float,
) -> Iterator[Flags]:
    """Which test messages are right at the beginning and after each round, (messages,)."""
    is_spam = (messages.test[LABEL] == "spam").to_numpy()
    yield (scores(list(messages.test[TEXT])) >= cut) == is_spam
    for places in np.array_split(np.arange(len(messages.stream)), ROUNDS):
        part = messages.stream.iloc[places]
        teach(to_correct(part, scores(list(part[TEXT])), cut))
        yield (scores(list(messages.test[TEXT])) >= cut) == is_spam


class Spamgpt:
    """Mini, fine-tuned and taught in a workspace."""

    def __init__(self, workspace: Workspace, seed: int) -> None:
        self.workspace = workspace
        self.seed = seed
        self.taken = 0

    def train(self, messages: pd.DataFrame, split: str = SPLIT) -> Artifact:
        """A classifier trained in the usual way."""
        file = self.workspace.root / "messages.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_table(messages, file)
        dataset, _ = fetch.run(fetch.FetchSettings(str(file), "mini"), self.workspace)
        prepared = prepare.run(
            prepare.PrepareSettings(
                dataset.reference, split=split, seed=self.seed, corrections="none"
            ),
            self.workspace,
        )
        settings = finetune.FinetuneSettings(
            prepared=prepared.reference, seed=self.seed, threshold_for="accuracy"
        )
        return finetune.run(settings, self.workspace)

    def scores(self, texts: Sequence[str]) -> Scores:
        """The probability of spam by the classifier in use."""
        classifier = SpamClassifier.from_pretrained(self.workspace.root)
        return classifier.predict_proba(texts)[:, classifier.labels.index("spam")]

    def teach(self, corrected: pd.DataFrame) -> None:
        """Corrects messages and learns from all corrections so far."""
        pairs = zip(corrected[TEXT], corrected[LABEL], strict=True)
        Corrections(self.workspace).change(pairs)
        found = learn.run(learn.LearnSettings(seed=self.seed), self.workspace)
        self.taken += bool(found and found.classifier)


class Bogofilter:
    """Debian's bogofilter with a database of its own; messages are mails without headers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "database").mkdir(parents=True)

    def scores(self, texts: Sequence[str]) -> Scores:
        """What bogofilter calls spamicity."""
        lines = self._run(["-T", "-b"], texts).splitlines()
        return np.array([float(line.split()[-1]) for line in lines])

    def teach(self, messages: pd.DataFrame) -> None:
        """Registers messages as spam or ham."""
        for label, option in (("spam", "-s"), ("ham", "-n")):
            texts = list(messages[messages[LABEL] == label][TEXT])
            if texts:
                self._run([option, "-b"], texts)

    def _run(self, options: Sequence[str], texts: Sequence[str]) -> str:
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            paths = [Path(name) / f"{number:06}" for number in range(len(texts))]
            for path, text in zip(paths, texts, strict=True):
                path.write_text(f"Content-Type: text/plain; charset=utf-8\n\n{text}\n", "utf-8")
            done = subprocess.run(
                ["bogofilter", "-d", str(self.folder / "database"), *options],
                input="".join(f"{path}\n" for path in paths),
                capture_output=True,
                text=True,
            )
        # 0 to 2 are answers.
        if done.returncode > 2:
            raise RuntimeError(f"bogofilter ended with {done.returncode}: {done.stderr}")
        return done.stdout


def draw(curves: dict[str, list[float]], whole: tuple[str, float], file: Path) -> None:
    """Accuracy against the number of corrections, and a line for training on everything."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for (name, accuracies), marker in zip(curves.items(), "os", strict=False):
        corrections = [PER_ROUND * number for number in range(len(accuracies))]
        axes.plot(
            corrections, [100 * value for value in accuracies], marker=marker, ms=4, label=name
        )
    axes.axhline(100 * whole[1], color="black", linestyle="--", linewidth=1, label=whole[0])
    axes.set_xlabel("corrected messages")
    axes.set_ylabel("accuracy on the test messages, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(file)
    pyplot.close(figure)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collection", type=Path, help="the raw SMSSpamCollection")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--draw", type=Path)
    options = parser.parse_args()
    messages = read_messages(options.collection, options.seed)
    found: dict[str, list[Flags]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = options.workspace or Path(folder) / "workspace"
        if shutil.which("bogofilter"):
            peer = Bogofilter(Path(folder) / "bogofilter")
            peer.teach(messages.first)
            found["bogofilter"] = list(rounds(messages, peer.scores, peer.teach, CUT))
        ours = Spamgpt(Workspace(root / "taught"), options.seed)
        ours.train(messages.first)
        found["spamgpt"] = []
        for number, right in enumerate(rounds(messages, ours.scores, ours.teach, 0.5)):
            found["spamgpt"].append(right)
            print(f"after {PER_ROUND * number:3}: {right.mean():.2%}", flush=True)
        everything = Spamgpt(Workspace(root / "everything"), options.seed)
        every = pd.concat([messages.first, messages.stream], ignore_index=True)
        everything.train(every, "89/10/1")
        is_spam = (messages.test[LABEL] == "spam").to_numpy()
        whole = (everything.scores(list(messages.test[TEXT])) >= 0.5) == is_spam
    print(f"| corrections | {' | '.join(found)} |\n|---:|{'---:|' * len(found)}")
    for number in range(0, ROUNDS + 1, 4):
        cells = [f"{flags[number].mean():.2%}" for flags in found.values()]
        print(f"| {PER_ROUND * number} | {' | '.join(cells)} |")
    last = found["spamgpt"][-1]
    print(f"\nRounds after which the new classifier was taken: {ours.taken} of {ROUNDS}.")
    low, high = wilson_interval(int(whole.sum()), len(whole)) or (0, 0)
    print(
        f"Trained on all {len(every):,} messages: {whole.mean():.2%} ({low:.1%} to {high:.1%}); "
        f"after {PER_ROUND * ROUNDS} corrections: {last.mean():.2%}, "
        f"McNemar's p = {mcnemar(last, whole).p_value:.2g}."
    )
    if "bogofilter" in found:
        test = mcnemar(last, found["bogofilter"][-1])
        print(f"Against bogofilter at the end: p = {test.p_value:.2g}.")
    if options.draw:
        curves = {name: [float(f.mean()) for f in flags] for name, flags in found.items()}
        label = f"spamgpt, trained on all {len(every):,} messages"
        draw(dict(sorted(curves.items(), reverse=True)), (label, float(whole.mean())), options.draw)


if __name__ == "__main__":
    main()
