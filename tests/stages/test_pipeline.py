import json
from dataclasses import replace
from pathlib import Path

import pytest

from spamgpt.data.corrections import Corrections
from spamgpt.stages import fetch, prepare
from spamgpt.stages.evaluate import EvaluateSettings, read_evaluation
from spamgpt.stages.fetch import FetchSettings
from spamgpt.stages.finetune import FinetuneSettings, as_published, plan
from spamgpt.stages.pipeline import PipelineSettings, Step, run
from spamgpt.stages.prepare import PrepareSettings
from spamgpt.workspace import Workspace

STAGES = ["fetch", "prepare", "finetune", "evaluate"]


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def settings(messages_file, make_model) -> PipelineSettings:
    model = make_model()
    (model / "finetuning.json").write_text('{"last-block": {"epochs": 2, "learning_rate": 0.01}}')
    return PipelineSettings(
        FetchSettings(str(messages_file), str(model)),
        PrepareSettings(),
        FinetuneSettings(device="cpu"),
        EvaluateSettings(device="cpu"),
    )


def steps(settings: PipelineSettings, workspace: Workspace) -> list[Step]:
    return list(run(settings, workspace))


def done(steps: list[Step]) -> list[str]:
    return [step.stage for step in steps if not step.skipped]


def test_all_stages_follow_each_other(settings, workspace):
    made = steps(settings, workspace)
    assert [step.stage for step in made] == done(made) == STAGES
    evaluation = made[-1].artifact
    assert evaluation.reference == "evaluations/v1"
    assert read_evaluation(evaluation).scores.messages == 24
    assert made[2].artifact.settings["epochs"] == 2


def test_a_second_run_makes_nothing(settings, workspace):
    first = steps(settings, workspace)
    before = sorted(workspace.root.rglob("*"))
    second = steps(settings, workspace)
    assert done(second) == []
    assert [step.artifact.reference for step in second] == [
        step.artifact.reference for step in first
    ]
    assert sorted(workspace.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("stage", "change", "again"),
    [
        ("prepare", {"balance": True}, STAGES[1:]),
        ("finetune", {"learning_rate": 0.02}, STAGES[2:]),
        ("finetune", {"unfreeze": "all"}, STAGES[2:]),
        ("evaluate", {"split": "validation"}, STAGES[3:]),
        # What does not change the result makes nothing again.
        ("finetune", {"learning_rate": 0.01}, []),
        ("finetune", {"device": "auto"}, []),
    ],
)
def test_another_setting_makes_its_stage_again_and_those_after_it(
    settings, workspace, stage, change, again
):
    steps(settings, workspace)
    changed = replace(settings, **{stage: replace(getattr(settings, stage), **change)})
    assert done(steps(changed, workspace)) == again
    # And the first settings' results are still there.
    assert done(steps(settings, workspace)) == []


def test_other_messages_make_all_again(settings, workspace, messages_file):
    steps(settings, workspace)
    messages_file.write_text(messages_file.read_text() + "ham\tone more of them\n")
    assert done(steps(settings, workspace)) == STAGES


def test_corrections_make_all_again_but_what_was_fetched(settings, workspace):
    first = steps(settings, workspace)
    Corrections(workspace).teach("a message of its own", "spam")
    assert done(steps(settings, workspace)) == STAGES[1:]
    assert done(steps(settings, workspace)) == []
    Corrections(workspace).forget("a message of its own")
    again = steps(settings, workspace)
    assert done(again) == []
    assert again[1].artifact.reference == first[1].artifact.reference


def test_an_unfit_recommendation_of_a_model_is_refused(settings, workspace):
    from spamgpt.errors import BadDataError

    assert settings.fetch.model
    file = Path(settings.fetch.model) / "finetuning.json"
    for text in (
        "[1]", "{", '{"last-block": 5}', '{"last-block": {"epochs": "5"}}',
        '{"last-block": {"speed": 1}}', '{"last-block": {"epochs": -1}}',
        json.dumps({"last-block": {"epochs": [3]}}),
        '{"last-block": {"schedule": "steep"}}', '{"last-block": {"schedule": 1}}',
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(BadDataError, match=r"finetuning\.json"):
            steps(settings, workspace)


def test_the_published_recipe_holds_where_the_model_recommends_nothing(settings, workspace):
    changed = replace(settings, finetune=replace(settings.finetune, unfreeze="all"))
    classifier = steps(changed, workspace)[2].artifact
    assert {name: classifier.settings[name] for name in ("epochs", "batch_size")} == {
        "epochs": 5,
        "batch_size": 8,
    }
    assert classifier.settings["learning_rate"] == 5e-5
    assert classifier.settings["schedule"] == "constant"


def test_a_model_may_recommend_every_hyper_parameter(settings, workspace):
    file = Path(settings.fetch.model) / "finetuning.json"
    recommended = {"epochs": 1, "schedule": "linear", "warmup": 0.1, "accumulate": 2, "clip": 1.0}
    recommended |= {"class_weights": "balanced", "dropout": 0.1, "patience": 1}
    file.write_text(json.dumps({"last-block": recommended}))
    made = steps(settings, workspace)[2].artifact.settings
    assert {name: made[name] for name in recommended} == recommended


@pytest.mark.parametrize(("alpha", "epochs"), [(None, 7), (4.0, 7), (16.0, 3)])
def test_what_is_recommended_for_adapters_is_for_an_alpha_like_the_rank(
    settings, workspace, alpha, epochs
):
    file = Path(settings.fetch.model) / "finetuning.json"
    file.write_text('{"all": {"epochs": 3}, "lora": {"epochs": 7}}')
    fetch.run(settings.fetch, workspace)
    prepare.run(settings.prepare, workspace)
    planned = plan(FinetuneSettings(lora_rank=4, lora_alpha=alpha), workspace)
    assert planned.settings.epochs == epochs


def test_the_published_recipe_goes_before_what_the_model_recommends(settings, workspace):
    published = replace(
        settings,
        prepare=PrepareSettings(recipe="published"),
        finetune=as_published(settings.finetune, set()),
    )
    classifier = steps(published, workspace)[2].artifact
    assert (classifier.settings["epochs"], classifier.settings["learning_rate"]) == (5, 5e-5)
    assert "periodic.png" in classifier.files
    assert done(steps(published, workspace)) == []
