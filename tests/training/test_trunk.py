import dataclasses
import shutil
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import transformers

import spamgpt
from spamgpt.classifier.inference import logits_of, predict_logits
from spamgpt.data.batches import TokenizedMessages, shuffled_batches
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.pooling import OVER_PADDING
from spamgpt.gpt2.weights import random_weights
from spamgpt.reporting import SILENT
from spamgpt.training.cache import ArrayCache
from spamgpt.training.finetuning import LabelledMessages, finetuning
from spamgpt.training.hyperparameters import Hyperparameters
from spamgpt.training.policy import TrainingPolicy
from spamgpt.training.trainer import Trainer
from spamgpt.training.trunk import TrunkSpecification, code_digest, run_trunk

CPU = torch.device("cpu")
CONFIG = GPT2Config(n_layer=3, n_head=2, n_embd=32, vocab_size=60, n_positions=24)
POLICIES = ["head", "last-block", "last-2-blocks"]


def model(policy: str, **reading: str) -> GPT2Classifier:
    gpt2 = GPT2(CONFIG)
    # Larger than at the beginning of pre-training, so that all blocks matter.
    weights = random_weights(CONFIG, seed=3).items()
    gpt2.load_state_dict({name: w * 4 if w.dim() > 1 else w for name, w in weights})
    classifier = GPT2Classifier(gpt2, labels=2, **reading)
    TrainingPolicy.from_name(policy, 3).apply(classifier)
    return classifier


def some_messages(count: int, seed: int) -> TokenizedMessages:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 25, (count,), generator=generator).tolist()
    token_ids = [torch.randint(60, (n,), generator=generator).tolist() for n in lengths]
    return TokenizedMessages(token_ids, [False] * count)


SPLITS = {"train": some_messages(40, seed=1), "validation": some_messages(13, seed=2)}


def specification(policy: str, dtype: torch.dtype = torch.float32) -> TrunkSpecification:
    depth = TrainingPolicy.from_name(policy, 3).frozen_blocks
    return TrunkSpecification("digest", depth, dtype, CPU)


@pytest.fixture
def cache(tmp_path) -> ArrayCache:
    return ArrayCache(tmp_path / "cache", limit=10**7)


@pytest.fixture
def runs(monkeypatch) -> list[tuple[int, int]]:
    """From which to which depth a trunk was run, a pair for each batch."""
    depths = []
    original = GPT2.hidden_states_after

    def trunk(self, packed, depth, start=0, *more):
        depths.append((start, depth))
        return original(self, packed, depth, start, *more)

    monkeypatch.setattr(GPT2, "hidden_states_after", trunk)
    return depths


@pytest.mark.parametrize("policy", POLICIES)
def test_from_the_trunk_come_the_same_logits_and_gradients(cache, policy):
    classifier = model(policy)
    trunks = run_trunk(classifier.gpt2, specification(policy), SPLITS, cache, SILENT)
    assert trunks is not None
    messages = SPLITS["train"]
    batch = [5, 0, 17, 33]
    gradients = []
    for trunk in (None, trunks["train"]):
        rows = None if trunk is None else trunk.rows(batch)
        logits = classifier(messages.pack(batch), 0 if trunk is None else trunk.depth, rows)
        classifier.zero_grad()
        F.cross_entropy(logits, torch.tensor([0, 1, 1, 0])).backward()
        gradients.append(
            {n: p.grad for n, p in classifier.named_parameters() if p.grad is not None}
        )
    plain, cached = gradients
    assert plain.keys() == cached.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(cached[name], gradient, atol=1e-6, rtol=1e-5, msg=name)
    whole = predict_logits(classifier, SPLITS["validation"], CPU)
    short = predict_logits(classifier, SPLITS["validation"], CPU, trunk=trunks["validation"])
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=0)


# What the head reads, what a token sees, and whether there is padding.
READINGS = [
    ("first", "causal", False),
    ("mean", "causal", False),
    ("last-position", "causal", True),
    ("mean-positions", "causal", True),
    ("last", "full", False),
    ("first", "full", True),
    ("mean", "full", True),
]


def padded(splits: dict[str, TokenizedMessages]) -> dict[str, TokenizedMessages]:
    return {name: messages.padded(24, 59) for name, messages in splits.items()}


@pytest.mark.parametrize("policy", ["head", "last-block"])
@pytest.mark.parametrize(("pooling", "attention", "pads"), READINGS)
def test_no_reading_depends_on_whether_the_trunk_was_kept(cache, policy, pooling, attention, pads):
    classifier = model(policy, pooling=pooling, attention=attention)
    splits = padded(SPLITS) if pads else SPLITS
    chosen = dataclasses.replace(specification(policy), pooling=pooling)
    trunks = run_trunk(classifier.gpt2, chosen, splits, cache, SILENT)
    batch, losses, gradients = [5, 0, 17, 33], [], []
    for trunk in (None, trunks["train"]):
        logits = logits_of(classifier, splits["train"], batch, CPU, trunk)
        classifier.zero_grad()
        loss = F.cross_entropy(logits, torch.tensor([0, 1, 1, 0]))
        loss.backward()
        losses.append(loss)
        gradients.append(
            {n: p.grad for n, p in classifier.named_parameters() if p.grad is not None}
        )
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)
    whole = predict_logits(classifier, splits["validation"], CPU)
    short = predict_logits(classifier, splits["validation"], CPU, trunk=trunks["validation"])
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=0)


def test_what_is_kept_is_taken_only_where_it_is_the_same(cache, runs):
    def runs_of(policy: str, splits=SPLITS, pooling="last", attention="causal") -> bool:
        runs.clear()
        gpt2 = model(policy, attention=attention).gpt2
        chosen = dataclasses.replace(specification(policy), pooling=pooling)
        run_trunk(gpt2, chosen, splits, cache, SILENT)
        return bool(runs)

    # Below the last block a row for each token serves every pooling that reads any of them.
    assert runs_of("last-block")
    assert not runs_of("last-block", pooling="mean")
    assert runs_of("last-block", pooling="first")  # needs one token of each
    assert runs_of("last-block", attention="full")
    assert not runs_of("last-block", pooling="first", attention="full")
    assert runs_of("last-block", padded(SPLITS), "last-position")
    assert not runs_of("last-block", padded(SPLITS), "mean-positions")
    # After it there is one row for each message.
    assert runs_of("head")
    assert runs_of("head", pooling="mean")
    assert runs_of("head", padded(SPLITS), "last-position")
    assert runs_of("head", padded(SPLITS), "mean-positions")
    assert runs_of("head", padded(SPLITS), "last", "full")
    # The same tokens, of which fewer are the message's own.
    shorter = {
        name: dataclasses.replace(messages, own_lengths=[1] * len(messages))
        for name, messages in padded(SPLITS).items()
    }
    assert runs_of("head", shorter, "last", "full")
    assert not runs_of("head", shorter, "last", "full")


def test_only_the_read_token_is_kept_where_no_block_is_left_to_run(cache):
    trunks = run_trunk(model("head").gpt2, specification("head"), SPLITS, cache, SILENT)
    assert trunks["train"].activations.shape == (40, 32)


@pytest.mark.parametrize("policy", ["head", "last-block"])
def test_bfloat16_changes_the_logits_only_by_rounding_and_halves_what_is_kept(cache, policy):
    classifier = model(policy)
    exact, rounded = (
        run_trunk(classifier.gpt2, specification(policy, dtype), SPLITS, cache, SILENT)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert rounded["train"].activations.nbytes * 2 == exact["train"].activations.nbytes
    logits = [
        predict_logits(classifier, SPLITS["train"], CPU, trunk=trunks["train"])
        for trunks in (exact, rounded)
    ]
    difference = (logits[0] - logits[1]).abs().max()
    assert 0 < difference < 0.1 * logits[0].std()
    # What is trained, and everything of the model itself, stays in float32.
    assert {parameter.dtype for parameter in classifier.parameters()} == {torch.float32}


def test_a_trunk_is_run_once_for_the_same_model_messages_and_numerics(cache, runs):
    gpt2 = model("last-block").gpt2
    chosen = specification("last-block")
    first = run_trunk(gpt2, chosen, SPLITS, cache, SILENT)
    assert set(runs) == {(0, 1), (1, 2)}
    runs.clear()
    again = run_trunk(gpt2, chosen, SPLITS, cache, SILENT)
    assert runs == []
    assert (again["train"].activations == first["train"].activations).all()
    # One split the same, one not.
    run_trunk(gpt2, chosen, SPLITS | {"validation": some_messages(5, 9)}, cache, SILENT)
    assert len(runs) == 2
    for change in ({"model": "another"}, {"dtype": torch.bfloat16}):
        runs.clear()
        other = dataclasses.replace(chosen, **change)
        run_trunk(gpt2, other, {"train": SPLITS["train"]}, cache, SILENT)
        assert runs != [], change


def test_a_run_that_trains_one_block_more_or_less_reuses_what_still_holds(cache, runs):
    gpt2 = model("last-block").gpt2
    run_trunk(gpt2, specification("last-block"), SPLITS, cache, SILENT)
    runs.clear()
    more = run_trunk(gpt2, specification("last-2-blocks"), SPLITS, cache, SILENT)
    assert runs == []
    less = run_trunk(gpt2, specification("head"), SPLITS, cache, SILENT)
    assert set(runs) == {(2, 3)}
    runs.clear()
    other = ArrayCache(cache.folder / "other", cache.limit)
    assert (
        run_trunk(gpt2, specification("last-2-blocks"), SPLITS, other, SILENT)["train"].activations
        == more["train"].activations
    ).all()
    alone = run_trunk(
        gpt2, specification("head"), SPLITS, ArrayCache(cache.folder / "third", 10**7), SILENT
    )
    for split in SPLITS:
        torch.testing.assert_close(
            less[split].rows(range(13)), alone[split].rows(range(13)), atol=1e-5, rtol=0
        )


def test_what_does_not_fit_is_not_kept(tmp_path, runs):
    rows = sum(len(ids) for split in SPLITS.values() for ids in split.token_ids)
    for limit, fits in ((rows * 32 * 4, True), (rows * 32 * 4 - 1, False)):
        cache = ArrayCache(tmp_path / str(limit), limit)
        trunks = run_trunk(
            model("last-block").gpt2, specification("last-block"), SPLITS, cache, SILENT
        )
        assert (trunks is not None) == fits
        # No room for what is one block less deep.
        assert len(cache.entries()) == 2 * fits
    assert not cache.folder.exists()


class Padded(torch.nn.Module):
    """The plain way: padded batches, every position of every block, nothing kept.

    The model is that of transformers.
    """

    def __init__(self, classifier: GPT2Classifier, pooling: str = "last") -> None:
        super().__init__()
        self.pooling = pooling
        self.gpt2 = transformers.GPT2Model(
            transformers.GPT2Config(
                n_layer=3,
                n_head=2,
                n_embd=32,
                vocab_size=60,
                n_positions=24,
                resid_pdrop=0,
                embd_pdrop=0,
                attn_pdrop=0,
                bos_token_id=59,
                eos_token_id=59,
            )
        )
        self.gpt2.load_state_dict(classifier.gpt2.state_dict(), strict=False)
        self.head = torch.nn.Linear(32, 2)
        self.head.load_state_dict(classifier.head.state_dict())

    def forward(self, messages: list[list[int]]) -> torch.Tensor:
        padded = torch.tensor([ids + [59] * (24 - len(ids)) for ids in messages])
        hidden_states = self.gpt2(padded).last_hidden_state
        if self.pooling == "last-position":
            return self.head(hidden_states[:, -1])
        if self.pooling == "mean-positions":
            return self.head(hidden_states).mean(1)
        if self.pooling == "mean":
            own = zip(hidden_states, messages, strict=True)
            return self.head(torch.stack([x[: len(ids)].mean(0) for x, ids in own]))
        last = torch.tensor([len(ids) - 1 for ids in messages])
        return self.head(hidden_states[torch.arange(len(messages)), last])


@pytest.mark.parametrize(
    ("policy", "pooling"),
    [
        *((policy, "last") for policy in [*POLICIES, "all"]),
        ("last-block", "last-position"),
        ("last-block", "mean-positions"),
        ("last-2-blocks", "mean"),
        ("head", "mean"),
    ],
)
def test_training_follows_the_loss_curve_of_the_plain_way_for_twenty_steps(
    cache, policy, pooling, monkeypatch
):
    classifier = model(policy, pooling=pooling)
    plain = Padded(classifier, pooling)
    for name, parameter in plain.named_parameters():
        trained = dict(classifier.named_parameters())[name].requires_grad
        parameter.requires_grad_(trained)
    labels = torch.arange(40) % 2
    read = padded(SPLITS) if pooling in OVER_PADDING else SPLITS
    splits = {
        name: LabelledMessages(messages, labels[: len(messages)]) for name, messages in read.items()
    }
    if policy != "all":
        chosen = dataclasses.replace(specification(policy), pooling=pooling)
        trunks = run_trunk(classifier.gpt2, chosen, read, cache, SILENT)
        splits = {
            name: dataclasses.replace(split, trunk=trunks[name]) for name, split in splits.items()
        }
    training = finetuning(
        classifier,
        TrainingPolicy.from_name(policy, 3),
        Hyperparameters(4, 8, 1e-3, 0.1, "constant", seed=5, keep_best=False),
        splits["train"],
        splits["validation"],
        CPU,
    )
    losses = defaultdict(list)
    original = Trainer._step

    def step(self, *arguments):
        original(self, *arguments)
        losses["ours"].append(self.state.losses[-1])

    monkeypatch.setattr(Trainer, "_step", step)
    training.run(SILENT, lambda record: None, lambda: None, lambda: False)
    optimizer = torch.optim.AdamW(
        [p for p in plain.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.1
    )
    for epoch in range(1, 5):
        for batch in shuffled_batches(40, 8, seed=5, epoch=epoch):
            logits = plain([SPLITS["train"].token_ids[i] for i in batch])
            loss = F.cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses["plain"].append(loss.item())
    assert len(losses["ours"]) == len(losses["plain"]) == 20
    assert losses["ours"] == pytest.approx(losses["plain"], abs=1e-4)
    assert sum(losses["plain"][-5:]) < sum(losses["plain"][:5])


@pytest.mark.parametrize("policy", ["last-block", "last-2-blocks"])
def test_dropout_is_only_in_what_is_trained_so_the_trunk_can_be_kept(cache, policy):
    labels = torch.arange(40) % 2
    learnt = []
    for kept in (False, True):
        classifier = model(policy)
        split = LabelledMessages(SPLITS["train"], labels)
        if kept:
            trunks = run_trunk(classifier.gpt2, specification(policy), SPLITS, cache, SILENT)
            split = dataclasses.replace(split, trunk=trunks["train"])
        training = finetuning(
            classifier,
            TrainingPolicy.from_name(policy, 3),
            Hyperparameters(2, 8, 1e-3, 0.1, "constant", 5, keep_best=False, dropout=0.2),
            split,
            split,
            CPU,
        )
        training.run(SILENT, lambda record: None, lambda: None, lambda: False)
        learnt.append(training.trained_tensors())
    for name, tensor in learnt[0].items():
        found = learnt[1][name]
        if name.endswith("c_attn.bias"):
            # A key's bias changes no answer; its gradient is what rounding leaves.
            found, tensor = (torch.cat(each.chunk(3)[::2]) for each in (found, tensor))
        torch.testing.assert_close(found, tensor, atol=1e-5, rtol=0)


def test_after_a_change_of_the_models_code_nothing_old_is_taken(cache, runs, monkeypatch):
    gpt2, chosen = model("last-block").gpt2, specification("last-block")
    run_trunk(gpt2, chosen, SPLITS, cache, SILENT)
    runs.clear()
    monkeypatch.setattr("spamgpt.training.trunk.code_digest", lambda: "of other code")
    run_trunk(gpt2, chosen, SPLITS, cache, SILENT)
    assert set(runs) == {(0, 1), (1, 2)}


@pytest.mark.parametrize(
    "file",
    ["gpt2/model.py", "gpt2/backends/new.py", "data/batches.py", "classifier/inference.py"],
)
def test_the_digest_of_the_code_follows_every_file_that_decides_activations(
    tmp_path, monkeypatch, file
):
    package = Path(spamgpt.__file__).parent
    copied = shutil.copytree(
        package, tmp_path / "spamgpt", ignore=shutil.ignore_patterns("assets", "__pycache__")
    )
    monkeypatch.setattr("spamgpt.training.trunk._ROOT", copied)
    before = code_digest.__wrapped__()
    assert before == code_digest()
    (copied / "stages" / "prepare.py").write_text("")
    assert code_digest.__wrapped__() == before
    with (copied / file).open("a") as changed:
        changed.write("# changed\n")
    assert code_digest.__wrapped__() != before


@pytest.mark.parametrize("evict", ["make_room", "clear"])
@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_run_survives_another_that_evicts_what_it_is_about_to_use(
    cache, monkeypatch, moment, evict
):
    gpt2, chosen = model("last-block").gpt2, specification("last-block")
    alone = run_trunk(gpt2, chosen, SPLITS, ArrayCache(cache.folder / "alone", 10**7), SILENT)
    # The other run has one of the two splits already.
    run_trunk(gpt2, chosen, {"train": SPLITS["train"]}, cache, SILENT)

    def other_run() -> None:
        other = ArrayCache(cache.folder, cache.limit)
        if evict == "clear":
            other.clear()
        else:
            other.make_room(cache.limit)

    original_writing, original_room = ArrayCache.writing, ArrayCache.make_room

    @contextmanager
    def writing(self, *arguments):
        with original_writing(self, *arguments) as array:
            yield array
            if moment == "during":
                other_run()
        if moment == "after":
            other_run()

    def make_room(self, size, keep=()):
        if moment == "before" and keep:
            other_run()
        original_room(self, size, keep)

    monkeypatch.setattr(ArrayCache, "writing", writing)
    monkeypatch.setattr(ArrayCache, "make_room", make_room)
    trunks = run_trunk(gpt2, chosen, SPLITS, cache, SILENT)
    assert trunks is not None
    for split, messages in SPLITS.items():
        everything = range(len(messages))
        assert torch.equal(trunks[split].rows(everything), alone[split].rows(everything))
