import shutil

from spamgpt.evaluation.report.lineage import lineage_of
from spamgpt.workspace import Workspace


def test_each_artifact_is_named_once_after_what_it_stands_on(trained_workspace):
    workspace = Workspace(trained_workspace)
    prepared, classifier = workspace.newest("prepared"), workspace.newest("classifiers")
    steps = lineage_of([prepared, classifier], workspace)
    names = [step.artifact for step in steps]
    assert names == ["datasets/chat/v1", "prepared/v1", "models/tiny/v1", "classifiers/v1"]
    assert [step.stage for step in steps] == ["fetch", "prepare", "fetch", "finetune"]
    assert steps[-1].digest == classifier.digest
    assert steps[-1].settings["unfreeze"] == "all"


def test_what_is_gone_is_named_with_its_digest(trained_workspace):
    workspace = Workspace(trained_workspace)
    digest = workspace.newest("models").digest
    shutil.rmtree(trained_workspace / "models")
    steps = {
        step.artifact: step for step in lineage_of([workspace.newest("classifiers")], workspace)
    }
    assert steps["models/tiny/v1"].stage == "gone"
    assert steps["models/tiny/v1"].digest == digest
