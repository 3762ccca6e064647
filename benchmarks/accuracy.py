"""The accuracy table of the README: python -m benchmarks.accuracy SMSSpamCollection

Fine-tunes mini, and as a control the same shape started at random, with the hyper-parameters that
mini recommends or that are named, on the real collection: a split and a training for each seed. A
linear SVM on TF-IDF of words and characters learns and answers on the same splits. Scores are of
the test splits, which chose nothing. Give WORKSPACE to keep what is trained and to go on after a
stop.

A message gets its more probable label (`--threshold-for accuracy`), as in the published figures.

With --plain instead: mini's last block, trained as spamgpt does (the frozen blocks run once, in
bfloat16 where the machine is made for it, no padding) and the plain way (padded, float32, all
blocks at every step), from the same head with the same batches; the mean over seeds is given with
its standard error.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import transformers

from benchmarks.plain import fast_logits, plain_logits
from spamgpt.data.rows import LABEL, TEXT
from spamgpt.data.tables import read_table
from spamgpt.evaluation.baselines import LINEAR_SVM, baselines
from spamgpt.evaluation.metrics import Scores, compute_metrics
from spamgpt.stages.evaluate import EvaluateSettings, read_evaluation
from spamgpt.stages.fetch import FetchSettings, Weights
from spamgpt.stages.finetune import FinetuneSettings
from spamgpt.stages.pipeline import PipelineSettings, run
from spamgpt.stages.prepare import PrepareSettings
from spamgpt.workspace import Artifact, Workspace

# Whether the data are balanced, and the options given beside what mini recommends. GPT-2 alone;
# mini is also trained with the linear model on n-grams beside it, as it recommends.
SETTINGS = (
    (True, "--unfreeze last-block", FinetuneSettings(unfreeze="last-block", ngrams=False)),
    (True, "--unfreeze all", FinetuneSettings(unfreeze="all", ngrams=False)),
    (
        False,
        "--unfreeze all --schedule linear --epochs 4",
        FinetuneSettings(unfreeze="all", schedule="linear", epochs=4, ngrams=False),
    ),
)
# What is fine-tuned, and what a row of the table calls it.
STARTS: tuple[tuple[Weights, str], ...] = (
    ("pretrained", "mini"),
    ("random", "the same shape, random start"),
)
TableRow = dict[str, float]


def _settings(
    dataset: Path, weights: Weights, balance: bool, finetune: FinetuneSettings, seed: int
) -> PipelineSettings:
    return PipelineSettings(
        FetchSettings(str(dataset), "mini", weights, seed=1),
        PrepareSettings(balance=balance, seed=seed),
        replace(finetune, seed=seed, threshold_for="accuracy"),
        EvaluateSettings(),
    )


def fine_tuned(
    dataset: Path,
    weights: Weights,
    balance: bool,
    finetune: FinetuneSettings,
    seed: int,
    workspace: Workspace,
) -> TableRow:
    """The scores on the test split of mini, or of its shape started at random, for one seed."""
    *_, last = run(_settings(dataset, weights, balance, finetune, seed), workspace)
    return _told(read_evaluation(last.artifact).scores)


def linear(prepared: Artifact) -> TableRow:
    """TF-IDF of words and word pairs and of 2 to 5 characters, and a linear SVM."""
    train, test = (read_table(prepared.file(f"{name}.csv")) for name in ("train", "test"))
    learnt, asked = ((list(table[TEXT]), list(table[LABEL])) for table in (train, test))
    outcomes = baselines(*learnt, *asked, ["ham", "spam"], "spam")
    return _told(next(compute_metrics(found) for name, found in outcomes if name == LINEAR_SVM))


def _told(scores: Scores) -> TableRow:
    return {"accuracy": scores.accuracy, "spam F1": scores.labels["spam"].f1}


def rows(dataset: Path, seeds: Sequence[int], workspace: Workspace) -> Iterator[str]:
    """The lines of the README's table."""
    yield "| splits | model | accuracy | spam F1 |"
    yield "|---|---|---:|---:|"
    for balance in (True, False):
        splits = "balanced" if balance else "as it is"
        found = []
        for weights, name in STARTS:
            for chosen, options, alone in SETTINGS:
                if chosen != balance:
                    continue
                both = [(options, replace(alone, ngrams=True))] if weights == "pretrained" else []
                for told, finetune in [*both, (f"{options} --no-ngrams", alone)]:
                    scores = [
                        fine_tuned(dataset, weights, balance, finetune, seed, workspace)
                        for seed in seeds
                    ]
                    found.append((f"{name}, `{told}`", scores))
        prepared = [
            artifact
            for artifact in workspace.artifacts("prepared")
            if artifact.settings["balance"] == balance and artifact.settings["seed"] in seeds
        ]
        found.append(("TF-IDF and a linear SVM", [linear(artifact) for artifact in prepared]))
        for name, scores in found:
            cells = (_mean_and_deviation(scores, key) for key in ("accuracy", "spam F1"))
            yield f"| {splits} | {name} | {' | '.join(cells)} |"


def fast_and_plain(dataset: Path, seeds: Sequence[int], workspace: Workspace) -> Iterator[str]:
    """The lines of the table that compares spamgpt's way of training with the plain one."""
    accuracies: dict[str, list[float]] = {"as spamgpt does": [], "the plain way": []}
    same, apart = [], 0.0
    balance, _, settings = SETTINGS[0]
    yield "| seed | as spamgpt does | the plain way |"
    yield "|---:|---:|---:|"
    for seed in seeds:
        _, _, finetuned, _ = run(
            _settings(dataset, "pretrained", balance, settings, seed), workspace
        )
        fast, truth = fast_logits(finetuned.artifact, workspace)
        plain, _ = plain_logits(finetuned.artifact, workspace)
        for found, answers in zip(accuracies.values(), (fast, plain), strict=True):
            found.append((answers.argmax(dim=1) == truth).double().mean().item())
        same.append((fast.argmax(dim=1) == plain.argmax(dim=1)).double().mean().item())
        difference = fast.double().softmax(dim=1) - plain.double().softmax(dim=1)
        apart = max(apart, difference.abs().max().item())
        yield f"| {seed} | {' | '.join(f'{found[-1]:.2%}' for found in accuracies.values())} |"
    cells = (
        f"{statistics.mean(found):.2%} ± {_standard_error(found):.2%}"
        for found in accuracies.values()
    )
    yield f"| mean ± standard error | {' | '.join(cells)} |"
    yield f"| equal labels; largest difference | {statistics.mean(same):.2%} | {apart:.4f} |"


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def _mean_and_deviation(scores: Sequence[Mapping[str, float]], key: str) -> str:
    values = [100 * score[key] for score in scores]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {deviation:.2f} %"


def main() -> None:
    """Prints one of the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="the raw SMSSpamCollection")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 1 to so many")
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--plain", action="store_true", help="compare with the plain way")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(options.workspace or Path(folder) / "workspace")
        table = fast_and_plain if options.plain else rows
        for row in table(options.dataset, range(1, options.seeds + 1), workspace):
            print(row, flush=True)


if __name__ == "__main__":
    main()
