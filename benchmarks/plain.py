"""A fine-tuning done again the plain way: padded, float32, every block at every step."""

from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from benchmarks.world import pad
from spamgpt.classifier.inference import predict_logits
from spamgpt.classifier.model import SpamClassifier, load_model
from spamgpt.data.batches import shuffled_batches, tokenize
from spamgpt.data.rows import LABEL, SPLITS, TEXT
from spamgpt.data.tables import read_table
from spamgpt.device import Precision
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.training.policy import TrainingPolicy
from spamgpt.training.schedule import learning_rate_factor
from spamgpt.workspace import Artifact, Workspace

# Messages that are scored together.
AT_ONCE = 64


class Plain(nn.Module):
    """The model of transformers under a head that reads each message's last token."""

    def __init__(self, gpt2: transformers.GPT2Model, head: nn.Linear) -> None:
        super().__init__()
        self.gpt2, self.head = gpt2, head

    def forward(self, token_ids: list[list[int]]) -> Tensor:
        """(messages, labels): the logits of each message."""
        hidden_states = self.gpt2(pad(token_ids, max(map(len, token_ids)), 0)).last_hidden_state
        last = torch.tensor([len(ids) - 1 for ids in token_ids])
        logits: Tensor = self.head(hidden_states[torch.arange(len(token_ids)), last])
        return logits

    @torch.inference_mode()
    def logits(self, token_ids: list[list[int]]) -> Tensor:
        """The same for many messages."""
        starts = range(0, len(token_ids), AT_ONCE)
        return torch.cat([self(token_ids[start : start + AT_ONCE]) for start in starts])


def fast_logits(
    classifier: Artifact, workspace: Workspace, precision: Precision = "auto"
) -> tuple[Tensor, Tensor]:
    """What a classifier gives for its test split, (messages, labels), and the right labels."""
    texts, truth = _split(classifier, workspace, "test")
    ours = SpamClassifier.from_artifact(workspace, classifier, "cpu", precision)
    messages = tokenize(texts, ours.tokenizer, ours.context)
    return predict_logits(ours.model, messages, ours.device), truth


def plain_logits(classifier: Artifact, workspace: Workspace) -> tuple[Tensor, Tensor]:
    """The same of one trained the plain way with the same settings, head and batches."""
    model, tokenizer = _untrained(classifier, workspace)
    splits = {}
    for name in SPLITS:
        texts, truth = _split(classifier, workspace, name)
        messages = tokenize(texts, tokenizer, model.gpt2.config.n_positions)
        splits[name] = messages.token_ids, truth
    _train(model, classifier.settings, splits)
    token_ids, truth = splits["test"]
    return model.logits(token_ids).clone(), truth


def _train(
    model: Plain, settings: dict[str, Any], splits: dict[str, tuple[list[list[int]], Tensor]]
) -> None:
    epochs, batch_size, rate = (settings[n] for n in ("epochs", "batch_size", "learning_rate"))
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        trained.values(), lr=rate, weight_decay=settings["weight_decay"], foreach=False
    )
    token_ids, labels = splits["train"]
    steps, step = epochs * -(-len(labels) // batch_size), 0
    lowest, best = float("inf"), dict[str, Tensor]()
    for epoch in range(1, epochs + 1):
        for batch in shuffled_batches(len(labels), batch_size, settings["seed"], epoch):
            factor = learning_rate_factor(
                settings["schedule"], (step + 0.5) / steps, settings["warmup"]
            )
            optimizer.param_groups[0]["lr"] = rate * factor
            loss = F.cross_entropy(model([token_ids[i] for i in batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        validation, truth = splits["validation"]
        reached = F.cross_entropy(model.logits(validation).double(), truth).item()
        if reached < lowest:
            lowest, best = reached, {name: p.detach().clone() for name, p in trained.items()}
    if settings["select"] == "best":
        model.load_state_dict(best, strict=False)


def _untrained(classifier: Artifact, workspace: Workspace) -> tuple[Plain, Tokenizer]:
    """The model that a classifier was made from, with the same head and the same parts frozen."""
    source = workspace.input_of(classifier, "models")
    gpt2, tokenizer = load_model(source)
    labels = workspace.input_of(classifier, "prepared").metadata["labels"]
    ours = GPT2Classifier(gpt2, len(labels), classifier.settings["seed"])
    n_layer = ours.gpt2.config.n_layer
    TrainingPolicy.from_name(classifier.settings["unfreeze"], n_layer).apply(ours)
    theirs = Plain(
        transformers.GPT2Model.from_pretrained(
            source.folder, dtype=torch.float32, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
        ),
        ours.head,
    )
    theirs.gpt2.config.use_cache = False
    to_train = {name for name, p in ours.named_parameters() if p.requires_grad}
    for name, parameter in theirs.named_parameters():
        parameter.requires_grad_(name in to_train)
    return theirs, tokenizer


def _split(classifier: Artifact, workspace: Workspace, name: str) -> tuple[list[str], Tensor]:
    """The messages of a split and the index of each one's label."""
    prepared = workspace.input_of(classifier, "prepared")
    table = read_table(prepared.file(f"{name}.csv"))
    labels = list(prepared.metadata["labels"])
    return list(table[TEXT]), torch.tensor([labels.index(label) for label in table[LABEL]])
