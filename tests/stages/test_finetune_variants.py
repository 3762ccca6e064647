"""What finetune's variants share: they train, are resumed, predict as trained, and are saved."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spamgpt import SpamClassifier
from spamgpt.classifier.config import TRAINED_FILE, ClassifierConfig
from spamgpt.classifier.folder import read_trained
from spamgpt.data.batches import MOST_WINDOWS
from spamgpt.data.tables import read_table
from spamgpt.errors import BadDataError, Interrupted, UsageError
from spamgpt.gpt2.adapters import LoraProjection
from spamgpt.gpt2.backends.projections import quantized_projections_work
from spamgpt.gpt2.folder import load_folder
from spamgpt.gpt2.packing import pack
from spamgpt.reporting import Reporter
from spamgpt.stages import finetune
from spamgpt.stages.finetune import FinetuneSettings, plan
from spamgpt.training.trainer import Trainer
from spamgpt.workspace import Artifact, Workspace

LONGEST = 32  # tokens of the longest training message
VARIANTS = {
    "first": {"pooling": "first"},
    "mean": {"pooling": "mean"},
    "published": {"pooling": "last-position", "padding": "longest"},
    "to the context": {"pooling": "last-position", "padding": "context"},
    "cut short": {"pooling": "mean-positions", "padding": "12"},
    "cut short, not padded": {"pooling": "last", "padding": "12"},
    "full": {"attention": "full"},
    "full, padded": {"attention": "full", "padding": "longest", "pooling": "mean"},
    "head, mean": {"unfreeze": "head", "pooling": "mean"},
    "lora": {"lora_rank": 4},
    "lora in the last block": {"lora_rank": 2, "unfreeze": "last-block", "lora_targets": "all"},
    "n-grams": {"ngrams": True, "unfreeze": "last-block"},
    "n-grams, lora, padded": {
        "ngrams": True,
        "lora_rank": 2,
        "pooling": "last-position",
        "padding": "longest",
    },
    "lora, full, mean": {"lora_rank": 2, "lora_alpha": 8.0, "attention": "full", "pooling": "mean"},
}
each_variant = pytest.mark.parametrize("name", VARIANTS)
TEXTS = ["WIN a FREE prize now!! 7", "see you later 8", "", "ok at home " * 20]


def variant(name: str, **changes) -> FinetuneSettings:
    plain = {"epochs": 1, "learning_rate": 3e-3, "precision": "fp32", "device": "cpu"}
    return FinetuneSettings(**plain | VARIANTS[name] | changes)


@pytest.fixture
def workspace(trained_workspace: Path) -> Workspace:
    return Workspace(trained_workspace)


def loaded(artifact: Artifact, precision: str = "fp32") -> SpamClassifier:
    return SpamClassifier.from_pretrained(artifact.folder, device="cpu", precision=precision)


def validation_loss(classifier: SpamClassifier, workspace: Workspace) -> float:
    """Before the temperature, as training measures it."""
    table = read_table(workspace.root / "prepared" / "v1" / "validation.csv")
    probabilities = classifier.predict_proba(list(table["text"]))
    logits = torch.tensor(np.log(probabilities)) * classifier.config.temperature
    labels = torch.tensor([classifier.labels.index(label) for label in table["label"]])
    return torch.nn.functional.cross_entropy(logits, labels).item()


@each_variant
def test_a_classifier_reads_messages_as_it_was_trained_to(workspace, name):
    artifact = finetune.run(variant(name), workspace)
    classifier = loaded(artifact)
    classifier.model.ngrams = None  # what is measured on the way is GPT-2 alone
    # Of a message longer than the padding, training sees the beginning and prediction all.
    if "cut" not in name:
        found = validation_loss(classifier, workspace)
        assert found == pytest.approx(artifact.metadata["validation_loss"], abs=1e-5)
    settings = VARIANTS[name]
    assert classifier.config.pooling == settings.get("pooling", "last")
    assert classifier.config.attention == settings.get("attention", "causal")
    lengths = {None: None, "longest": LONGEST, "context": 64, "12": 12}
    assert classifier.config.padding == lengths[settings.get("padding")]
    # Windows of a long message have the length of the padding.
    assert classifier.context == (classifier.config.padding or 64)
    windows = classifier.predictions(["ok at home " * 9]).windows
    assert windows == [min(MOST_WINDOWS, -(-99 // classifier.context))]
    spans = classifier.explain(TEXTS[0])
    assert (spans[0].start, spans[-1].end) == (0, len(TEXTS[0]))


@pytest.mark.parametrize(
    "name", ["first", "mean", "cut short", "full, padded", "head, mean", "lora in the last block"]
)
def test_the_cache_changes_nothing_but_the_time(workspace, name):
    made = [
        load_file(finetune.run(variant(name, cache_limit=limit), workspace).file(TRAINED_FILE))
        for limit in (0.0, None, None)
    ]
    without, computed, kept = made
    assert without.keys() == computed.keys() == kept.keys()
    for tensor_name, tensor in without.items():
        other, again = computed[tensor_name], kept[tensor_name]
        assert torch.equal(other, again)
        if tensor_name.endswith("c_attn.bias"):
            # A key's bias changes no attention: its gradient is nothing but rounding.
            query, _, value = tensor.chunk(3)
            other_query, _, other_value = other.chunk(3)
            tensor, other = torch.cat([query, value]), torch.cat([other_query, other_value])
        torch.testing.assert_close(other, tensor, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["cut short", "full, padded", "lora"])
def test_an_interrupted_variant_goes_on_to_the_same_bytes(workspace, name, monkeypatch):
    whole = finetune.run(variant(name), workspace)
    original, steps = Trainer._step, []

    def step(self, *arguments):
        original(self, *arguments)
        steps.append(0)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "_step", step)
    with pytest.raises(Interrupted):
        finetune.run(variant(name), workspace)
    resumed = finetune.run(FinetuneSettings(), workspace, resume=True, given=set())
    assert resumed.digest == whole.digest
    assert len(steps) == 11


@pytest.mark.parametrize("name", ["first", "published", "full", "lora", "lora in the last block"])
def test_a_variant_is_saved_with_all_that_it_reads(workspace, tmp_path, name):
    classifier = loaded(finetune.run(variant(name), workspace))
    classifier.save_pretrained(tmp_path / "saved")
    again = SpamClassifier.from_pretrained(tmp_path / "saved", device="cpu", precision="fp32")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    names = load_file(tmp_path / "saved" / "model.safetensors").keys()
    of_model = load_file(workspace.root / "models/tiny/v1/model.safetensors").keys()
    assert {name.removeprefix("transformer.") for name in names} == {
        *of_model,
        "head.weight",
        "head.bias",
    }


def test_of_adapters_the_artifact_holds_a_b_and_the_head_alone(workspace):
    artifact = finetune.run(variant("lora"), workspace)
    tensors = load_file(artifact.file(TRAINED_FILE))
    targets = ("attn.c_attn", "attn.c_proj", "mlp.c_proj")
    assert tensors.keys() == {"head.weight", "head.bias"} | {
        f"gpt2.h.{block}.{target}.lora_{matrix}"
        for block in (0, 1)
        for target in targets
        for matrix in "AB"
    }
    assert artifact.settings["unfreeze"] == "all"
    assert artifact.settings["lora_alpha"] == 4.0
    config = json.loads(artifact.file("config.json").read_bytes())
    assert config["lora"] == {"rank": 4, "alpha": 4.0, "targets": list(targets)}
    assert all(tensor.abs().max() > 0 for tensor in tensors.values())  # B was trained


def test_adapters_are_drawn_by_the_seed_and_merged_where_they_are_read(workspace):
    untrained = variant("lora", learning_rate=0.0)
    first, other = (
        finetune.run(replace(untrained, seed=seed), workspace).file(TRAINED_FILE) for seed in (1, 2)
    )
    name = "gpt2.h.0.attn.c_attn.lora_A"
    assert not torch.equal(load_file(first)[name], load_file(other)[name])
    for precision in ("fp32", "bf16"):
        modules = loaded(workspace.newest("classifiers"), precision).model.modules()
        assert not any(isinstance(module, LoraProjection) for module in modules)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lowered_products_are_those_of_merged_weights(workspace, tmp_path, precision):
    if precision == "int8" and not quantized_projections_work():
        pytest.skip("this processor has no products in int8")
    artifact = finetune.run(variant("lora"), workspace)
    loaded(artifact).save_pretrained(tmp_path / "merged")
    merged = SpamClassifier.from_pretrained(tmp_path / "merged", device="cpu", precision=precision)
    low = loaded(artifact, precision)
    np.testing.assert_array_equal(low.predict_proba(TEXTS), merged.predict_proba(TEXTS))
    np.testing.assert_allclose(
        low.predict_proba(TEXTS), loaded(artifact).predict_proba(TEXTS), atol=0.05
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.pop("gpt2.h.0.mlp.c_proj.lora_B"), r"missing gpt2\.h\.0\.mlp\.c_proj\.lora_B"),
        (lambda t: t.pop("head.bias"), r"missing head\.bias"),
        (lambda t: t.update({"gpt2.h.1.ln_1.bias": torch.ones(32)}), r"surplus gpt2\.h\.1\.ln_1"),
        (lambda t: t.update({"gpt2.h.9.x": torch.ones(1)}), r"surplus gpt2\.h\.9\.x"),
        (
            lambda t: t.update({"gpt2.h.0.attn.c_attn.lora_A": torch.ones(32, 5)}),
            r"lora_A is \(32, 5\), expected \(32, 4\)",
        ),
        (lambda t: t.clear(), r"missing gpt2\.h\.1\.attn\.c_attn\.lora_A"),
    ],
)
def test_adapters_that_do_not_fit_are_named_in_one_line(workspace, tmp_path, change, told):
    artifact = finetune.run(variant("lora"), workspace)
    (tmp_path / "config.json").write_bytes(artifact.file("config.json").read_bytes())
    tensors = {name: t.clone() for name, t in load_file(artifact.file(TRAINED_FILE)).items()}
    change(tensors)
    save_file(tensors, tmp_path / TRAINED_FILE)
    folder = workspace.root / "models/tiny/v1"
    with pytest.raises(BadDataError, match=told) as caught:
        read_trained(tmp_path, load_folder(folder), folder)
    assert "\n" not in caught.value.message


def test_padding_that_the_model_has_no_positions_for_is_refused(workspace, tmp_path):
    artifact = finetune.run(variant("published"), workspace)
    config = json.loads(artifact.file("config.json").read_bytes()) | {"padding": 65}
    (tmp_path / "config.json").write_text(json.dumps(config))
    folder = workspace.root / "models/tiny/v1"
    with pytest.raises(BadDataError, match="padding is 65, and the model's context 64 tokens"):
        read_trained(tmp_path, load_folder(folder), folder)


def test_padding_that_nothing_sees_is_told_and_costs_nothing(workspace):
    told: list[str] = []

    class Listener(Reporter):
        def note(self, text: str) -> None:
            told.append(text)

        def warn(self, text: str) -> None:
            told.append(text)

    padded = finetune.run(
        variant("cut short, not padded", padding="longest"), workspace, Listener()
    )
    assert told[0].startswith("Padding changes nothing: with `attention=causal` and `pooling=last`")
    assert f"cut to {LONGEST} tokens" in told[0]
    plain = finetune.run(variant("cut short, not padded", padding="none"), workspace)
    trained, same = (load_file(each.file(TRAINED_FILE)) for each in (padded, plain))
    assert all(torch.equal(tensor, same[name]) for name, tensor in trained.items())
    told.clear()
    finetune.run(variant("cut short"), workspace, Listener())
    assert told[0] == "Messages of the train split cut to 12 tokens: 55."


# The variants of the published table: row 18 ignores the padding in the loss, which has no effect.
PUBLISHED = {
    1: {"pooling": "last-position", "padding": "longest"},
    2: {"pooling": "first", "padding": "longest"},
    3: {"pooling": "last-position", "padding": "longest", "unfreeze": "head"},
    4: {"pooling": "last-position", "padding": "longest", "unfreeze": "last-2-blocks"},
    5: {"pooling": "last-position", "padding": "longest", "unfreeze": "all"},
    11: {
        "pooling": "last-position",
        "padding": "longest",
        "lora_rank": 16,
        "lora_alpha": 256.0,
        "lora_targets": "all",
    },
    13: {"pooling": "last-position", "padding": "context"},
    14: {"pooling": "last", "padding": "none", "batch_size": 1},
    16: {"pooling": "last", "padding": "longest"},
    17: {"pooling": "last-position", "padding": "longest", "attention": "full"},
    19: {"pooling": "mean-positions", "padding": "longest"},
}


@pytest.mark.parametrize("row", PUBLISHED)
def test_the_published_variants_can_be_asked_for(workspace, row):
    assert plan(FinetuneSettings(**PUBLISHED[row]), workspace).trained_parameters > 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pooling": "last-position"}, "`pooling=last-position` reads padding"),
        ({"padding": "65"}, "`padding=65` is more than the model's context"),
        ({"lora_alpha": 2.0}, "`lora_alpha` is for adapters"),
        ({"lora_rank": 4, "unfreeze": "head"}, "`unfreeze=head` trains none"),
        ({"lora_rank": 4, "lora_targets": "wte"}, "'wte' is no projection"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_read(workspace, settings, told):
    with pytest.raises(UsageError) as caught:
        plan(FinetuneSettings(**settings), workspace)
    assert told in caught.value.message


def test_without_adapters_the_last_block_is_trained_and_with_them_all(workspace):
    for settings, unfreeze in ((FinetuneSettings(), "last-block"), (variant("lora"), "all")):
        planned = plan(settings, workspace)
        assert planned.settings.unfreeze == planned.policy.name == unfreeze


def test_the_configuration_of_a_variant_can_be_read(workspace):
    artifact = finetune.run(variant("lora, full, mean"), workspace)
    config = ClassifierConfig.from_file(artifact.file("config.json"))
    assert config.lora is not None
    assert config.lora.scale == 4


def test_the_logits_of_n_grams_are_added_to_those_of_gpt2(workspace):
    alone = finetune.run(FinetuneSettings(epochs=1, device="cpu"), workspace)
    both = finetune.run(FinetuneSettings(epochs=1, device="cpu", ngrams=True), workspace)
    assert both.settings["ngrams"]
    one, two = load_file(alone.file(TRAINED_FILE)), load_file(both.file(TRAINED_FILE))
    added = two.keys() - one.keys()
    assert added == {f"ngrams.{name}" for name in ("weight", "idf", "bias", "caution")}
    assert all(two[name].dtype == torch.float16 for name in added)
    assert all(torch.equal(one[name], two[name]) for name in one)
    classifier = loaded(both)
    packed = classifier.tokenizer.encode(TEXTS[:2])
    with torch.no_grad():
        together = classifier.model(pack(packed))
        ngrams = classifier.model.ngrams(pack(packed))
        assert ngrams.abs().max() > 0
        torch.testing.assert_close(together - ngrams, loaded(alone).model(pack(packed)))
