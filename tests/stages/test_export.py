from dataclasses import replace
from pathlib import Path

import pytest

from spamgpt import SpamClassifier
from spamgpt.errors import UsageError
from spamgpt.stages.export import ExportSettings, run
from spamgpt.stages.finetune import FinetuneSettings
from spamgpt.stages.finetune import run as finetune
from spamgpt.workspace import Workspace


@pytest.fixture
def workspace(trained_workspace) -> Workspace:
    return Workspace(trained_workspace)


@pytest.mark.parametrize(
    ("to", "target", "files"),
    [
        (
            "huggingface",
            "out",
            "README.md config.json merges.txt model.safetensors spamgpt.json "
            "special_tokens_map.json tokenizer.json tokenizer_config.json vocab.json",
        ),
        ("onnx", "out/filter.onnx", "filter.onnx filter.py"),
        ("bundle", "out/filter.spamgpt", "filter.spamgpt"),
    ],
)
def test_each_format_is_written_in_full(workspace, tmp_path, to, target, files):
    exported = run(ExportSettings("v1", to, tmp_path / target, device="cpu"), workspace)
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == files.split()
    assert (exported.classifier, exported.to) == ("classifiers/v1", to)
    assert exported.target == str(tmp_path / target)
    main = tmp_path / target
    sizes = [p.stat().st_size for p in written if main.is_dir() or p.name.startswith(main.name)]
    assert exported.size == sum(sizes)


def test_an_onnx_file_is_measured_on_the_validation_split_of_its_classifier(workspace, tmp_path):
    exported = run(
        ExportSettings("v1", "onnx", tmp_path / "a.onnx", int8=True, device="cpu"), workspace
    )
    (prepared,) = workspace.artifacts("prepared")
    assert exported.agreement is not None
    count = prepared.metadata["splits"]["validation"]["messages"]
    assert exported.agreement.messages == count
    assert exported.agreement.same_label > 0.9


def test_adapters_leave_merged(workspace, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    settings = FinetuneSettings(lora_rank=4, epochs=2, learning_rate=1e-2, device="cpu")
    trained = finetune(settings, workspace)
    texts = ["WIN a FREE prize", "see you at home", "x"]
    exact = SpamClassifier.from_pretrained(trained.folder, device="cpu", precision="fp32")
    expected = exact.predict_proba(texts)
    run(ExportSettings("v2", "huggingface", tmp_path / "out", device="cpu"), workspace)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        logits = model(**tokenizer(texts, return_tensors="pt", padding=True)).logits
    assert logits.softmax(-1).numpy() == pytest.approx(expected, abs=1e-4)
    exported = run(ExportSettings("v2", "onnx", tmp_path / "a.onnx", device="cpu"), workspace)
    assert exported.agreement is not None
    assert exported.agreement.largest_difference < 1e-4


def test_what_was_exported_can_be_exported_again(workspace, tmp_path):
    first, second = tmp_path / "filter.spamgpt", tmp_path / "again.spamgpt"
    run(ExportSettings("v1", "bundle", first, device="cpu"), workspace)
    run(ExportSettings(str(first), "bundle", second, device="cpu"), Workspace(Path("none")))
    assert first.read_bytes() == second.read_bytes()
    exported = run(ExportSettings(str(first), "onnx", tmp_path / "a.onnx", device="cpu"), workspace)
    assert exported.agreement is not None
    assert exported.agreement.messages == 500  # bundled ones: it knows no others


def test_the_workspace_stays_as_it_is(workspace, tmp_path):
    before = sorted(workspace.root.rglob("*"))
    run(ExportSettings("v1", "bundle", tmp_path / "filter.spamgpt", device="cpu"), workspace)
    assert sorted(workspace.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (ExportSettings("v1", "gguf", Path("x")), "`to` is 'gguf'"),
        (ExportSettings("v1", "onnx"), "place to write to"),
        (ExportSettings("v1", "hub:a/b", Path("x")), "written to no path"),
        (ExportSettings("v1", "bundle", Path("x"), int8=True), "`int8` is for ONNX"),
        (ExportSettings("v1", "onnx", Path("x"), without_ngrams=True), "`to=onnx` keeps them"),
        (ExportSettings("v1", "hub:nonsense"), "hub:nonsense does not name"),
    ],
)
def test_settings_that_do_not_fit_are_told(workspace, settings, told):
    with pytest.raises(UsageError, match=told):
        run(settings, workspace)


def test_full_precision_leaves_whatever_the_machine_computes_in(workspace, tmp_path):
    run(ExportSettings("v1", "huggingface", tmp_path / "out", device="cpu"), workspace)
    exact = SpamClassifier.from_pretrained(workspace.root, device="cpu", precision="fp32")
    found = SpamClassifier.from_pretrained(tmp_path / "out", device="cpu", precision="fp32")
    texts = ["WIN a FREE prize", "see you"]
    assert found.predict_proba(texts) == pytest.approx(exact.predict_proba(texts), abs=1e-5)


def test_a_classifier_with_n_grams_leaves_for_transformers_without_them(workspace, tmp_path):
    finetune(FinetuneSettings(epochs=1, ngrams=True, device="cpu"), workspace)
    settings = ExportSettings("v2", "huggingface", tmp_path / "out", device="cpu")
    with pytest.raises(UsageError, match="n-grams"):
        run(settings, workspace)
    exported = run(replace(settings, without_ngrams=True), workspace)
    assert exported.agreement is not None
    (prepared,) = workspace.artifacts("prepared")
    count = prepared.metadata["splits"]["validation"]["messages"]
    assert exported.agreement.messages == count
    assert exported.agreement.largest_difference > 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "linear model on n-grams" in card
    assert str(exported.agreement) in card
    kept = run(ExportSettings("v2", "onnx", tmp_path / "a.onnx", device="cpu"), workspace)
    assert kept.agreement is not None
    assert kept.agreement.largest_difference < 1e-4
