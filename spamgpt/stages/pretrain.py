"""pretrain: trains a language model on unlabelled text, from scratch or onward from a model."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spamgpt.device import Device, TrainingPrecision
from spamgpt.errors import Interrupted, MissingInputError, UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import Artifact, Workspace, artifact_name, result_settings, sha256

if TYPE_CHECKING:
    from spamgpt.data.corpus import Corpus, Source
    from spamgpt.training.checkpoint import Checkpoint
    from spamgpt.training.pretraining import Pretraining, PretrainingRecord

STAGE = "pretrain"
Size = Literal["mini"]
StoredAs = Literal["float32", "float16"]

# Seconds between checkpoints.
_CHECKPOINT_INTERVAL = 180


@dataclass(frozen=True)
class PretrainSettings:
    """`texts` are files or folders; `weights` says how often an epoch goes through a source.

    With `model`, a reference, training goes on from that model (domain-adaptive pre-training,
    Gururangan et al. 2020); without, it starts from scratch with a vocabulary learnt from the
    texts. `layers`, `heads`, `width`, `context` and `vocabulary` are the shape of a new model. The
    budget is `tokens` or `minutes`. `held_out` is the share of the documents kept for measuring.
    """

    texts: tuple[str, ...] = ()
    weights: tuple[tuple[str, float], ...] = ()
    model: str | None = None
    name: str | None = None
    layers: int = 6
    heads: int = 4
    width: int = 256
    context: int = 512
    vocabulary: int = 8192
    tokens: int | None = None
    minutes: float | None = None
    batch_tokens: int = 8192
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    held_out: float = 0.01
    seed: int = 123
    precision: TrainingPrecision = "auto"
    store_as: StoredAs = "float32"
    device: Device = "auto"


def run(
    settings: PretrainSettings,
    workspace: Workspace,
    reporter: Reporter = SILENT,
    resume: bool = False,
) -> Artifact:
    """Writes a `models/NAME/vN` that every other stage reads, with its history and a model card.

    `resume` goes on with the interrupted run of the same settings and texts. Raises Interrupted,
    UsageError, MissingInputError, BadDataError or IntegrityError.
    """
    from filelock import Timeout

    from spamgpt.data.corpus import find_sources
    from spamgpt.training.checkpoint import Checkpoint

    if (settings.tokens is None) == (settings.minutes is None):
        raise UsageError("Give one budget.", "Use --tokens 50000000 or --minutes 60.")
    sources = find_sources([Path(text) for text in settings.texts], dict(settings.weights))
    base = workspace.newest("models", settings.model) if settings.model else None
    record = _run_record(settings, sources, base)
    if not resume:
        with Checkpoint.start(workspace.root, STAGE, record) as checkpoint:
            artifact = _train(settings, sources, base, workspace, reporter, checkpoint, None)
            checkpoint.remove()
        return artifact
    for checkpoint in Checkpoint.interrupted(workspace.root, STAGE):
        if checkpoint.record != record:
            continue
        with suppress(Timeout), checkpoint.going_on():
            state = checkpoint.load()
            artifact = _train(settings, sources, base, workspace, reporter, checkpoint, state)
            checkpoint.remove()
            return artifact
    raise MissingInputError(
        f"There is no interrupted pre-training with these options and texts in {workspace.root}.",
        "Repeat the options of the interrupted run with --resume, or start without it.",
    )


def _train(
    settings: PretrainSettings,
    sources: "Sequence[Source]",
    base: Artifact | None,
    workspace: Workspace,
    reporter: Reporter,
    checkpoint: "Checkpoint",
    state: dict[str, Any] | None,
) -> Artifact:
    import torch

    from spamgpt.classifier.model import load_model
    from spamgpt.data.corpus import read_corpus
    from spamgpt.device import resolve_device, resolve_precision
    from spamgpt.gpt2.config import GPT2Config
    from spamgpt.gpt2.folder import CARD_FILE, CONFIG_FILE, TOKENIZER_FILES
    from spamgpt.gpt2.model import GPT2
    from spamgpt.gpt2.tokenizer import Tokenizer
    from spamgpt.gpt2.weights import random_weights
    from spamgpt.training.interruption import stop_on_interrupt
    from spamgpt.training.loop import TrainingInterrupted
    from spamgpt.training.pretraining import (
        Budget,
        Pretraining,
        PretrainingRecipe,
        PretrainingRecord,
    )
    from spamgpt.training.vocabulary import learn_vocabulary

    device = resolve_device(settings.device)
    bfloat16 = resolve_precision(settings.precision, device) == torch.bfloat16
    name = settings.name or (base.name if base else "mini")
    inputs = [base] if base else []
    with workspace.new(
        "models", settings, inputs=inputs, name=artifact_name(name), stage=STAGE
    ) as draft:
        if base:
            model, tokenizer = load_model(base)
            for file in TOKENIZER_FILES:
                (draft.folder / file).write_bytes((base.folder / file).read_bytes())
        else:
            reporter.note(f"Learning a vocabulary of {settings.vocabulary:,} tokens")
            texts = (text for source in sources for text in source.documents())
            learn_vocabulary(texts, settings.vocabulary, draft.folder)
            tokenizer = Tokenizer.from_folder(draft.folder)
            config = GPT2Config(
                n_layer=settings.layers,
                n_head=settings.heads,
                n_embd=settings.width,
                n_positions=settings.context,
                vocab_size=tokenizer.vocab_size,
            )
            model = GPT2(config)
            model.load_state_dict(random_weights(config, settings.seed))
        config = model.config
        reporter.note("Reading the texts")
        training_part, held_out = read_corpus(
            sources, tokenizer, config.n_positions, settings.held_out
        )
        recipe = PretrainingRecipe(
            Budget(settings.tokens, settings.minutes),
            settings.batch_tokens,
            settings.learning_rate,
            settings.weight_decay,
            settings.seed,
        )
        run = Pretraining(model, recipe, device, bfloat16)
        if state is not None:
            run.load_state_dict(state)
        reporter.note(
            f"{sum(p.numel() for p in model.parameters()):,} parameters; "
            f"{len(training_part.token_ids):,} tokens to train on, "
            f"{len(held_out.token_ids):,} held out; {'bfloat16' if run.bfloat16 else 'float32'} "
            f"on {device.type}"
        )
        row = reporter.table(
            "        tokens", "epochs", "training loss", "held-out loss", "perplexity"
        )

        def show(record: PretrainingRecord) -> None:
            row(*_cells(record))

        saved = time.monotonic()

        def after_step() -> None:
            nonlocal saved
            if time.monotonic() - saved > _CHECKPOINT_INTERVAL:
                checkpoint.save(run.state_dict())
                saved = time.monotonic()

        for record in run.history:
            show(record)
        try:
            with stop_on_interrupt(reporter.warn) as should_stop:
                run.run(
                    training_part,
                    held_out,
                    [source.weight for source in sources],
                    reporter,
                    show,
                    after_step,
                    should_stop,
                )
        except TrainingInterrupted:
            checkpoint.save(run.state_dict())
            raise Interrupted(
                f"Stopped after {run.tokens:,} tokens; what was learnt is kept.",
                "Go on with the same command and --resume.",
            ) from None
        (draft.folder / CONFIG_FILE).write_text(json.dumps(config.to_dict(), indent=2) + "\n")
        _write_model(settings, run, draft.folder)
        described = _describe_sources(sources, training_part, held_out)
        draft.counts.update(
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_embd=config.n_embd,
            weights="pretrained",
            origin=f"{STAGE} from {base.reference if base else 'scratch'}",
            tokens=run.tokens,
            epochs=run.history[-1].epochs,
            held_out_loss=run.history[-1].held_out_loss,
            training_seconds=round(run.seconds, 1),
            sources=described,
        )
        card = _card(name, settings, base, described, run)
        (draft.folder / CARD_FILE).write_text(card, encoding="utf-8")
    return draft.artifact


def _cells(record: "PretrainingRecord") -> tuple[str, ...]:
    return (
        f"{record.tokens:>14,}",
        f"{record.epochs:.2f}",
        f"{record.training_loss:.4f}",
        f"{record.held_out_loss:.4f}",
        f"{math.exp(record.held_out_loss):.2f}",
    )


def _write_model(settings: PretrainSettings, run: "Pretraining", folder: Path) -> None:
    import pandas as pd
    import torch

    from spamgpt.gpt2.folder import WEIGHTS_FILE
    from spamgpt.gpt2.weights import write_weights

    dtype = torch.float16 if settings.store_as == "float16" else torch.float32
    tensors = {name: tensor.to(dtype) for name, tensor in run.model.state_dict().items()}
    write_weights(tensors, folder / WEIGHTS_FILE)
    history = pd.DataFrame([asdict(record) for record in run.history])
    history.to_csv(folder / "history.csv", index=False, lineterminator="\n")


def _describe_sources(
    sources: "Sequence[Source]", training: "Corpus", held_out: "Corpus"
) -> list[dict[str, Any]]:
    """Each source with its share of what an epoch trains on."""
    import numpy as np

    tokens = np.bincount(training.source, training.lengths, minlength=len(sources))
    held = np.bincount(held_out.source, held_out.lengths, minlength=len(sources))
    weighted = tokens * [source.weight for source in sources]
    return [
        {
            "source": source.name,
            "weight": source.weight,
            "tokens": int(tokens[number]),
            "held_out_tokens": int(held[number]),
            "share": round(float(weighted[number] / weighted.sum()), 4),
        }
        for number, source in enumerate(sources)
    ]


def _card(
    name: str,
    settings: PretrainSettings,
    base: Artifact | None,
    sources: Sequence[Mapping[str, Any]],
    run: "Pretraining",
) -> str:
    """A model card made from the run's own record."""
    from spamgpt.cards.pretrained import PretrainedCard, render_card

    return render_card(
        PretrainedCard(
            name=name,
            config=run.model.config,
            parameters=sum(parameter.numel() for parameter in run.model.parameters()),
            tokens=run.tokens,
            epochs=run.history[-1].epochs,
            seed=settings.seed,
            sources=sources,
            history=run.history,
            settings=result_settings(settings),
            base=base.reference if base else None,
        )
    )


def _run_record(
    settings: PretrainSettings, sources: "Sequence[Source]", base: Artifact | None
) -> dict[str, Any]:
    """What makes two runs the same: all settings but the device, and the content of the inputs."""
    values = asdict(settings)
    del values["device"], values["texts"]
    record: dict[str, Any] = json.loads(  # as it will be read back
        json.dumps(
            {
                "settings": values,
                "texts": [[source.name, sha256(source.path)] for source in sources],
                "inputs": [base.as_input] if base else [],
            }
        )
    )
    return record
