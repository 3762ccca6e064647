import json
import os
import signal
from pathlib import Path

import pytest
import torch
import transformers

from spamgpt.errors import Interrupted, MissingInputError, UsageError
from spamgpt.gpt2.folder import load_folder
from spamgpt.gpt2.packing import pack
from spamgpt.stages import fetch, finetune, prepare, pretrain
from spamgpt.stages.pretrain import PretrainSettings
from spamgpt.training.trainer import Trainer
from spamgpt.workspace import Workspace


@pytest.fixture
def texts(tmp_path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("chat", "books"):
        lines = "".join(
            json.dumps({"text": f"{name}: see you at {n} then"}) + "\n" for n in range(200)
        )
        (folder / f"{name}.jsonl").write_text(lines)
    return folder


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def settings(texts: Path, **changes) -> PretrainSettings:
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64, "vocab_size": 300}
    return PretrainSettings(
        texts=(str(texts),),
        **shape
        | {"tokens": 20_000, "batch_tokens": 512, "held_out": 0.1, "precision": "fp32"}
        | {"optimizer": "adamw"}
        | changes,
    )


def test_a_new_model_is_a_folder_that_the_stages_and_transformers_read(
    workspace, texts, messages_file, make_model
):
    artifact = pretrain.run(settings(texts), workspace)
    assert artifact.reference == "models/pretrained/v1"
    assert artifact.manifest["stage"] == "pretrain"
    ours, tokenizer = load_folder(artifact.folder)
    theirs = transformers.GPT2Model.from_pretrained(artifact.folder).eval()
    ends = {"bos_token_id": tokenizer.end_of_text, "eos_token_id": tokenizer.end_of_text}
    assert theirs.config.to_dict().items() >= ends.items()
    (ids,) = tokenizer.encode(["see you at 7"])
    with torch.no_grad():
        torch.testing.assert_close(
            ours(pack([ids])), theirs(torch.tensor([ids])).last_hidden_state[0], atol=1e-4, rtol=0
        )
    fetch.run(fetch.FetchSettings(str(messages_file), str(make_model())), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    classifier = finetune.run(
        finetune.FinetuneSettings(model="pretrained", epochs=1, device="cpu"), workspace
    )
    assert classifier.manifest["inputs"][1]["artifact"] == "models/pretrained/v1"


def test_the_record_and_the_card_tell_how_it_was_made(workspace, texts):
    artifact = pretrain.run(settings(texts, weights=(("chat", 3.0),)), workspace)
    counts = artifact.metadata
    assert counts["tokens"] >= 20_000
    assert [source["source"] for source in counts["sources"]] == ["books", "chat"]
    assert counts["sources"][1]["share"] == pytest.approx(0.75, abs=0.03)
    card = (artifact.folder / "README.md").read_text()
    assert f"{counts['tokens']:,} tokens" in card
    assert "| chat |" in card
    assert "held-out perplexity" in card
    assert "| texts | texts |" in card
    assert str(texts.parent) not in card
    history = (artifact.folder / "history.csv").read_text().splitlines()
    assert history[0] == "tokens,epochs,training_loss,held_out_loss"
    assert float(history[-1].split(",")[3]) == counts["held_out_loss"]


def test_the_same_settings_give_the_same_bytes(workspace, texts):
    first, again = (pretrain.run(settings(texts, tokens=5_000), workspace) for _ in range(2))
    weights = [a.manifest["files"]["model.safetensors"]["sha256"] for a in (first, again)]
    assert weights[0] == weights[1]


def test_training_goes_on_from_a_model_with_its_vocabulary(workspace, texts):
    first = pretrain.run(settings(texts), workspace)
    onward = pretrain.run(settings(texts, model="pretrained", tokens=5_000), workspace)
    assert onward.reference == "models/pretrained/v2"
    assert onward.manifest["inputs"] == [first.as_input]
    assert (onward.folder / "vocab.json").read_bytes() == (first.folder / "vocab.json").read_bytes()
    assert onward.metadata["held_out_loss"] < first.metadata["held_out_loss"] + 0.05


def test_half_precision_halves_the_file(workspace, texts):
    full, half = (
        pretrain.run(settings(texts, tokens=2_000, store_as=store_as), workspace)
        for store_as in ("float32", "float16")
    )
    sizes = [(a.folder / "model.safetensors").stat().st_size for a in (full, half)]
    assert sizes[1] < 0.6 * sizes[0]
    load_folder(half.folder)


def test_an_interrupted_run_goes_on_to_the_same_weights(workspace, texts, monkeypatch):
    whole = pretrain.run(settings(texts), workspace)
    original = Trainer._step
    done = 0

    def step(self, *arguments):
        nonlocal done
        done += 1
        if done == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    monkeypatch.setattr(Trainer, "_step", step)
    with pytest.raises(Interrupted, match="Stopped after"):
        pretrain.run(settings(texts), workspace)
    with pytest.raises(MissingInputError, match="no interrupted run of pretrain"):
        pretrain.run(settings(texts, seed=7), workspace, resume=True)
    resumed = pretrain.run(settings(texts), workspace, resume=True)
    assert (
        resumed.manifest["files"]["model.safetensors"]["sha256"]
        == whole.manifest["files"]["model.safetensors"]["sha256"]
    )
    assert not (workspace.root / "checkpoints").exists()


def test_one_budget_is_needed(workspace, texts):
    for budget in ({"tokens": None}, {"tokens": 5, "minutes": 1.0}):
        with pytest.raises(UsageError, match="one budget"):
            pretrain.run(settings(texts, **budget), workspace)
    assert not workspace.root.exists()


@pytest.fixture
def interrupt(monkeypatch):
    """Lets the next pre-training be interrupted, as by Ctrl-C, after 20 steps."""

    def arm() -> None:
        original, done = Trainer._step, 0

        def step(self, *arguments):
            nonlocal done
            done += 1
            if done == 20:
                os.kill(os.getpid(), signal.SIGINT)
            return original(self, *arguments)

        monkeypatch.setattr(Trainer, "_step", step)

    return arm


def test_with_a_trapezoid_a_run_is_resumed_with_a_larger_budget(workspace, texts, interrupt):
    chosen = {"schedule": "trapezoid", "optimizer": "muon"}
    interrupt()
    with pytest.raises(Interrupted):
        pretrain.run(settings(texts, **chosen), workspace)
    with pytest.raises(UsageError, match=r"has trained on [\d,]+ tokens already"):
        pretrain.run(settings(texts, tokens=5_000, **chosen), workspace, resume=True)
    larger = pretrain.run(settings(texts, tokens=30_000, **chosen), workspace, resume=True)
    assert larger.metadata["tokens"] >= 30_000
    assert larger.settings["tokens"] == 30_000
    assert not (workspace.root / "checkpoints").exists()


def test_with_a_cosine_the_budget_has_to_be_the_same(workspace, texts, interrupt):
    interrupt()
    with pytest.raises(Interrupted):
        pretrain.run(settings(texts), workspace)
    with pytest.raises(MissingInputError, match="no interrupted run of pretrain") as refused:
        pretrain.run(settings(texts, tokens=30_000), workspace, resume=True)
    assert refused.value.hint == "The last one has `tokens=20000`."


def test_the_learning_rate_follows_the_optimizer_unless_it_is_given(workspace, texts):
    for change, rate in (
        ({"optimizer": "muon"}, 0.003),
        ({"optimizer": "adamw"}, 0.001),
        ({"optimizer": "muon", "learning_rate": 0.02}, 0.02),
    ):
        made = pretrain.run(settings(texts, tokens=1_000, **change), workspace)
        assert made.settings["learning_rate"] == rate


def test_the_vocabulary_is_learnt_from_documents_as_often_as_their_source_weighs(workspace, texts):
    made = [
        pretrain.run(settings(texts, tokens=600, weights=weights), workspace)
        for weights in ((("chat", 0.1),), (("books", 0.1),))
    ]
    first, second = (json.loads((a.folder / "vocab.json").read_text()) for a in made)
    assert first != second


def test_a_width_that_the_heads_do_not_share_evenly_is_refused(workspace, texts):
    with pytest.raises(UsageError, match="`n_embd` 33 is not a multiple of `n_head` 2"):
        pretrain.run(settings(texts, n_embd=33), workspace)
    assert not workspace.root.exists()


def test_a_model_that_no_memory_holds_is_refused_with_its_size(workspace, texts):
    with pytest.raises(UsageError, match=r"parameters take at least 1,440,\d+,\d+ GB of memory"):
        pretrain.run(settings(texts, n_embd=10_000_000, n_layer=100), workspace)
    assert not workspace.root.exists()
