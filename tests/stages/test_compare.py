import numpy as np
import pytest

from spamgpt.data.tables import read_table
from spamgpt.errors import MissingInputError, UsageError
from spamgpt.stages import compare, evaluate, finetune, prepare
from spamgpt.stages.compare import CompareSettings
from spamgpt.workspace import Workspace


@pytest.fixture
def workspace(trained_workspace) -> Workspace:
    """With a second classifier, one that has learnt next to nothing."""
    workspace = Workspace(trained_workspace)
    finetune.run(
        finetune.FinetuneSettings(unfreeze="head", epochs=1, seed=2, device="cpu"), workspace
    )
    return workspace


def test_each_gets_the_scores_of_its_evaluation_and_each_pair_a_test(workspace):
    found = compare.run(CompareSettings(("v1", "v2"), split="train", device="cpu"), workspace)
    correct = []
    for scored in found.classifiers:
        settings = evaluate.EvaluateSettings(scored.classifier, split="train", device="cpu")
        artifact, evaluation = evaluate.run(settings, workspace)
        for name in ("scores", "intervals", "seen_in_training"):
            assert getattr(scored, name) == getattr(evaluation, name)
        table = read_table(artifact.file("predictions.csv"))
        correct.append((table["label"] == table["predicted"]).to_numpy())
    (pair,) = found.pairs
    assert (pair.first, pair.second) == ("classifiers/v1", "classifiers/v2")
    assert pair.mcnemar.only_first == np.sum(correct[0] & ~correct[1]) > 10
    assert pair.mcnemar.only_second == np.sum(correct[1] & ~correct[0])
    assert pair.mcnemar.p_value < 0.001
    assert (found.split, found.messages, found.prepared) == ("train", 84, "prepared/v1")


def test_three_classifiers_make_three_pairs(workspace):
    finetune.run(
        finetune.FinetuneSettings(unfreeze="head", epochs=1, seed=3, device="cpu"), workspace
    )
    found = compare.run(CompareSettings(("v3", "v1", "v2"), device="cpu"), workspace)
    names = [scored.classifier[-2:] for scored in found.classifiers]
    assert names == ["v3", "v1", "v2"]
    pairs = [(pair.first[-2:], pair.second[-2:]) for pair in found.pairs]
    assert pairs == [("v3", "v1"), ("v3", "v2"), ("v1", "v2")]


def test_the_data_of_the_first_is_taken_unless_named(workspace):
    prepare.run(prepare.PrepareSettings(seed=7), workspace)
    assert compare.run(CompareSettings(("v2", "v1")), workspace).prepared == "prepared/v1"
    other = compare.run(CompareSettings(("v2", "v1"), prepared="v2"), workspace)
    assert other.prepared == "prepared/v2"
    assert other.classifiers[0].seen_in_training > 0


@pytest.mark.parametrize("names", [("v1",), ("v1", "classifiers/v1")])
def test_one_classifier_is_nothing_to_compare(workspace, names):
    with pytest.raises(UsageError, match="nothing to compare"):
        compare.run(CompareSettings(names), workspace)


def test_a_classifier_that_is_not_there_is_named(workspace):
    with pytest.raises(MissingInputError, match="'v9'"):
        compare.run(CompareSettings(("v1", "v9")), workspace)
