import json
import shutil

import numpy as np
import pytest
import torch

from spamgpt import SpamClassifier
from spamgpt.classifier.model import load_model
from spamgpt.errors import BadDataError, MissingInputError, UsageError
from spamgpt.stages import evaluate, export, fetch, finetune, predict, prepare
from spamgpt.stages.compare import CompareSettings
from spamgpt.stages.compare import run as compare
from spamgpt.stages.import_ import ImportSettings, run
from spamgpt.workspace import Workspace

MESSAGES = ["WIN a FREE prize now!! 7", "see you later 8", "", "é😀", "ok at home " * 9]


@pytest.fixture
def workspace(trained_workspace) -> Workspace:
    return Workspace(trained_workspace)


def answers(workspace: Workspace, named: str | None = None) -> np.ndarray:
    found = SpamClassifier.from_pretrained(workspace.root, named, device="cpu", precision="fp32")
    return found.predict_proba(MESSAGES)


@pytest.mark.parametrize(
    "variant",
    [{"unfreeze": "last-block"}, {"unfreeze": "all"}, {"unfreeze": "head"}, {"lora_rank": 4}],
    ids=str,
)
@pytest.mark.parametrize("to", ["huggingface", "bundle", "saved"])
def test_what_was_exported_comes_back_and_answers_the_same(workspace, tmp_path, variant, to):
    settings = finetune.FinetuneSettings(**variant, epochs=1, learning_rate=1e-2, device="cpu")
    trained = finetune.run(settings, workspace)
    place = tmp_path / "filter"
    if to == "saved":
        SpamClassifier.from_pretrained(trained.folder, device="cpu").save_pretrained(place)
    else:
        export.run(export.ExportSettings("v2", to, place, device="cpu"), workspace)
    elsewhere = Workspace(tmp_path / "elsewhere")
    imported = run(ImportSettings(str(place)), elsewhere)
    np.testing.assert_allclose(answers(elsewhere), answers(workspace), atol=1e-5)
    assert [a.reference for a in elsewhere.artifacts()] == [
        "models/imported-filter/v1",
        "classifiers/v1",
    ]
    own = json.loads((trained.folder / "config.json").read_text())
    found = json.loads((imported.folder / "config.json").read_text())
    assert (found["threshold"], found["labels"]) == (own["threshold"], own["labels"])
    for artifact in elsewhere.artifacts():
        for name in artifact.files:
            artifact.check(name, always_hash=True)


@pytest.mark.parametrize("labels", [2, 5])
def test_adapters_go_to_transformers_and_come_back_with_any_number_of_labels(
    make_model, tmp_path, labels
):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    names = ["ham", "spam", "ads", "bills", "news"][:labels]
    data = tmp_path / "data.tsv"
    lines = (f"{name}\tabout {name} {number}\n" for number in range(20) for name in names)
    data.write_text("".join(lines))
    workspace = Workspace(tmp_path / "workspace")
    fetch.run(fetch.FetchSettings(str(data), str(make_model())), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    settings = finetune.FinetuneSettings(lora_rank=4, epochs=1, learning_rate=1e-2, device="cpu")
    finetune.run(settings, workspace)
    expected = answers(workspace)
    assert expected.shape == (len(MESSAGES), labels)
    folder = tmp_path / "out"
    export.run(export.ExportSettings("v1", "huggingface", folder, device="cpu"), workspace)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text, row in zip(MESSAGES, expected, strict=True):
        if 0 < len(text) < 60:  # transformers reads an empty one not at all, and a long one in part
            with torch.no_grad():
                logits = model(**tokenizer(text, return_tensors="pt")).logits
            np.testing.assert_allclose(logits.softmax(1)[0], row, atol=1e-4)
    elsewhere = Workspace(tmp_path / "elsewhere")
    run(ImportSettings(str(folder)), elsewhere)
    np.testing.assert_allclose(answers(elsewhere), expected, atol=1e-4)


@pytest.mark.parametrize("to", ["bundle", "saved"])
def test_n_grams_come_back_with_it_and_stay_with_the_classifier(workspace, tmp_path, to):
    settings = finetune.FinetuneSettings(epochs=1, ngrams=True, device="cpu")
    trained = finetune.run(settings, workspace)
    place = tmp_path / "filter"
    if to == "saved":
        SpamClassifier.from_pretrained(trained.folder, device="cpu").save_pretrained(place)
    else:
        export.run(export.ExportSettings("v2", to, place, device="cpu"), workspace)
    elsewhere = Workspace(tmp_path / "elsewhere")
    imported = run(ImportSettings(str(place)), elsewhere)
    np.testing.assert_allclose(answers(elsewhere), answers(workspace), atol=1e-6)
    assert json.loads((imported.folder / "config.json").read_text())["ngrams"]
    # The model is a GPT-2 like any other.
    load_model(elsewhere.newest("models"))


@pytest.fixture
def imported(workspace, tmp_path) -> Workspace:
    """A workspace with a classifier of its own and an imported one, which is the newest."""
    export.run(export.ExportSettings("v1", "bundle", tmp_path / "f.spamgpt"), workspace)
    run(ImportSettings(str(tmp_path / "f.spamgpt")), workspace)
    return workspace


def test_it_is_evaluated_and_compared_on_the_data_of_the_workspace(imported):
    settings = evaluate.EvaluateSettings("v2", baseline=True, device="cpu")
    artifact, evaluation = evaluate.run(settings, imported)
    assert evaluation.seen_in_training is None
    own = evaluate.run(evaluate.EvaluateSettings("v1", device="cpu"), imported)[1]
    assert evaluation.scores == own.scores
    assert (artifact.folder / "report.html").exists()
    comparison = compare(CompareSettings(["v2", "v1"], device="cpu"), imported)
    assert [each.scores for each in comparison.classifiers] == [own.scores, own.scores]


def test_without_prepared_data_it_is_told_what_makes_some(imported, tmp_path):
    elsewhere = Workspace(tmp_path / "elsewhere")
    run(ImportSettings(str(tmp_path / "f.spamgpt")), elsewhere)
    with pytest.raises(MissingInputError) as caught:
        evaluate.run(evaluate.EvaluateSettings(), elsewhere)
    assert caught.value.hint == "Make it: spamgpt prepare"


def test_it_predicts_explains_and_is_exported(imported, tmp_path):
    inputs = [("texts", [b"WIN a FREE prize\n", b"see you at home\n"])]
    settings = predict.PredictSettings(explain=True, device="cpu")
    found = predict.run(settings, imported, inputs)
    assert found.classifier == "classifiers/v2"
    labels = [answer.prediction.label for batch in found.batches for answer in batch]
    assert labels == ["spam", "ham"]
    export.run(export.ExportSettings("v2", "bundle", tmp_path / "again.spamgpt"), imported)
    again = SpamClassifier.from_pretrained(
        tmp_path / "again.spamgpt", device="cpu", precision="fp32"
    )
    np.testing.assert_allclose(again.predict_proba(MESSAGES), answers(imported, "v1"), atol=1e-6)


def test_its_model_is_trained_onward_where_it_is_named_and_not_by_chance(imported):
    settings = finetune.FinetuneSettings(epochs=1, device="cpu")
    assert finetune.run(settings, imported).manifest["inputs"][1]["artifact"] == "models/tiny/v1"
    named = finetune.FinetuneSettings(model="imported-f", epochs=1, device="cpu")
    trained = finetune.run(named, imported)
    assert trained.manifest["inputs"][1]["artifact"] == "models/imported-f/v1"


def test_it_is_trained_onward_with_its_head(imported):
    settings = finetune.FinetuneSettings(start_from="v2", epochs=1, learning_rate=0.0, device="cpu")
    onward = finetune.run(settings, imported)
    assert [entry["artifact"] for entry in onward.manifest["inputs"][1:]] == [
        "models/imported-f/v1",
        "classifiers/v2",
    ]
    logits = [np.log(answers(imported, name)) for name in ("v1", "v3")]
    # The temperature is fitted anew; all else is as it was.
    first, second = (each[:, 1] - each[:, 0] for each in logits)
    assert np.corrcoef(first, second)[0, 1] > 0.999


def test_importing_the_same_again_keeps_one_model(imported, tmp_path):
    run(ImportSettings(str(tmp_path / "f.spamgpt")), imported)
    assert len(imported.folders("models")) == 2
    assert len(imported.folders("classifiers")) == 3


def test_labels_can_be_named(workspace, tmp_path):
    export.run(export.ExportSettings("v1", "huggingface", tmp_path / "out"), workspace)
    for name in ("out", "bundle"):
        if name == "bundle":
            export.run(export.ExportSettings("v1", "bundle", tmp_path / name), workspace)
        artifact = run(ImportSettings(str(tmp_path / name), labels="gut,schlecht"), workspace)
        found = SpamClassifier.from_pretrained(artifact.folder, device="cpu")
        assert found.labels == ["gut", "schlecht"]
        assert found.config.positive_label == "schlecht"
        with pytest.raises(UsageError, match="the classifier has 2 labels"):
            run(ImportSettings(str(tmp_path / name), labels="a,b,c"), workspace)


def test_nothing_is_written_if_the_source_cannot_be_read(tmp_path):
    elsewhere = Workspace(tmp_path / "elsewhere")
    (tmp_path / "bad.spamgpt").write_bytes(b"no bundle")
    (tmp_path / "empty").mkdir()
    for source, error in (
        ("bad.spamgpt", BadDataError),
        ("empty", MissingInputError),
        ("nothing", MissingInputError),
    ):
        with pytest.raises(error, match=source):
            run(ImportSettings(str(tmp_path / source)), elsewhere)
    assert not elsewhere.root.exists()


def test_the_artifact_of_another_workspace_is_no_export(workspace, tmp_path):
    with pytest.raises(MissingInputError) as caught:
        run(ImportSettings(str(workspace.root / "classifiers" / "v1")), Workspace(tmp_path / "new"))
    assert "spamgpt export" in caught.value.hint


@pytest.fixture
def state_dictionary(workspace, tmp_path) -> str:
    """The classifier of the workspace as the notebook would have saved it."""
    found = SpamClassifier.from_pretrained(workspace.root, device="cpu", precision="fp32")
    of_block = {
        "ln_1.weight": "norm1.scale",
        "ln_1.bias": "norm1.shift",
        "ln_2.weight": "norm2.scale",
        "ln_2.bias": "norm2.shift",
        "attn.c_proj": "att.out_proj",
        "mlp.c_fc": "ff.layers.0",
        "mlp.c_proj": "ff.layers.2",
    }
    others = {
        "gpt2.wte.weight": "tok_emb.weight",
        "gpt2.wpe.weight": "pos_emb.weight",
        "gpt2.ln_f.weight": "final_norm.scale",
        "gpt2.ln_f.bias": "final_norm.shift",
        "head.weight": "out_head.weight",
        "head.bias": "out_head.bias",
    }
    state = {}
    for name, tensor in found.model.state_dict().items():
        tensor = tensor.clone()
        if name in others:
            state[others[name]] = tensor
            continue
        _, _, number, part = name.split(".", 3)
        turned = tensor.t().contiguous() if tensor.dim() == 2 else tensor
        if part.startswith("attn.c_attn."):
            kind = part.rpartition(".")[2]
            for which, piece in zip(("query", "key", "value"), turned.chunk(3), strict=True):
                state[f"trf_blocks.{number}.att.W_{which}.{kind}"] = piece.clone()
        else:
            for ours, theirs in of_block.items():
                if part.startswith(ours):
                    part = part.replace(ours, theirs, 1)
                    break
            state[f"trf_blocks.{number}.{part}"] = turned
    torch.save(state, tmp_path / "review_classifier.pth")
    return str(tmp_path / "review_classifier.pth")


def test_a_state_dictionary_takes_shape_and_tokenizer_from_a_model(
    workspace, state_dictionary, tmp_path
):
    config = SpamClassifier.from_pretrained(workspace.root, device="cpu").config
    expected = answers(workspace)
    # The notebook knows no temperature.
    logits = np.log(expected) * config.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    folder = shutil.copytree(workspace.root / "models" / "tiny" / "v1", tmp_path / "gpt2")
    for model in (None, "tiny", str(folder)):
        run(ImportSettings(state_dictionary, model=model, padding="none"), workspace)
        np.testing.assert_allclose(answers(workspace), expected, atol=1e-5)
    assert workspace.newest("classifiers").metadata["labels"] == ["ham", "spam"]


def test_a_state_dictionary_is_read_with_its_padding_wherever_it_goes(
    workspace, state_dictionary, tmp_path
):
    artifact = run(ImportSettings(state_dictionary, padding="60"), workspace)
    found = SpamClassifier.from_pretrained(workspace.root, device="cpu", precision="fp32")
    assert (found.config.pooling, found.config.padding) == ("last-position", 60)
    expected = answers(workspace)
    assert np.abs(expected - answers(workspace, "v1")).max() > 1e-3
    evaluate.run(evaluate.EvaluateSettings(artifact.reference, device="cpu"), workspace)
    export.run(export.ExportSettings("v2", "bundle", tmp_path / "f.spamgpt"), workspace)
    run(ImportSettings(str(tmp_path / "f.spamgpt")), Workspace(tmp_path / "new"))
    np.testing.assert_allclose(answers(Workspace(tmp_path / "new")), expected, atol=1e-6)
    onward = finetune.FinetuneSettings(start_from="v2", epochs=1, device="cpu")
    trained = finetune.run(onward, workspace)
    assert SpamClassifier.from_pretrained(trained.folder).config.padding == 60
    for to, place in (("huggingface", "out"), ("onnx", "out.onnx")):
        with pytest.raises(UsageError, match="`pooling=last-position`"):
            export.run(export.ExportSettings("v2", to, tmp_path / place), workspace)


@pytest.mark.parametrize("padding", ["", "0", "-3", "longest", "1.5"])
def test_padding_is_a_number_or_none(workspace, state_dictionary, padding):
    with pytest.raises(UsageError, match="`padding` is"):
        run(ImportSettings(state_dictionary, padding=padding), workspace)


def test_a_state_dictionary_without_a_model_says_what_it_needs(state_dictionary, tmp_path):
    with pytest.raises(MissingInputError, match="no pretrained model") as caught:
        run(ImportSettings(state_dictionary), Workspace(tmp_path / "new"))
    assert caught.value.hint == "Make it: spamgpt fetch"
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match=r"empty has no config\.json"):
        run(ImportSettings(state_dictionary, model=str(tmp_path / "empty")), Workspace(tmp_path))


@pytest.mark.parametrize("setting", ["model", "padding"])
def test_some_settings_are_for_state_dictionaries_only(imported, tmp_path, setting):
    with pytest.raises(UsageError, match=f"`{setting}` is for"):
        run(ImportSettings(str(tmp_path / "f.spamgpt"), **{setting: "tiny"}), imported)


def test_the_bundled_classifier_answers_from_a_workspace_as_it_does_without(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    imported = run(ImportSettings("bundled"), workspace)
    texts = ["see you at 7 then", "WINNER! Claim your free prize now, call 09061701461"]
    found = SpamClassifier.from_artifact(workspace, imported, "cpu").predict_proba(texts)
    assert found == pytest.approx(SpamClassifier.bundled("cpu").predict_proba(texts), abs=1e-6)
    model = workspace.input_of(imported, "models")
    assert model.reference == "models/imported-bundled/v1"
    assert "finetuning.json" in model.files
