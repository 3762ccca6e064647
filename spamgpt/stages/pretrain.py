"""pretrain: trains a language model on unlabelled text, from scratch or onward from a model."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spamgpt.device import Device, TrainingPrecision, memory_problem
from spamgpt.errors import UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.training.hyperparameters import PRETRAINING_RATES, PretrainingOptimizer
from spamgpt.training.schedule import PretrainingSchedule
from spamgpt.workspace import (
    NO_EFFECT,
    Artifact,
    Workspace,
    artifact_name,
    result_settings,
    sha256,
)

if TYPE_CHECKING:
    from spamgpt.data.corpus import Source
    from spamgpt.gpt2.config import GPT2Config
    from spamgpt.gpt2.model import GPT2
    from spamgpt.gpt2.tokenizer import Tokenizer
    from spamgpt.training.checkpoint import Checkpoint
    from spamgpt.training.pretraining import PretrainingRecord
    from spamgpt.training.trainer import Trainer

STAGE = "pretrain"
# The bytes that training takes at least for a parameter: weight, gradient, momentum.
_TRAINED = 12
# What a model trained from scratch is called unless it is named.
NEW_NAME = "pretrained"
StoredAs = Literal["float32", "float16"]


@dataclass(frozen=True)
class PretrainSettings:
    """`texts` are files or folders; `weights` says how often an epoch goes through a source.

    With `model`, a reference, training goes on from that model (domain-adaptive pre-training,
    Gururangan et al. 2020); without, it starts from scratch with a vocabulary of `vocab_size`
    tokens learnt from the texts; `n_layer`, `n_head`, `n_embd` and `n_positions` are the rest of
    its shape. The budget is `tokens` or `minutes`. The peak `learning_rate` is by default that
    of PRETRAINING_RATES. `held_out` is the share of the documents kept for measuring.
    """

    texts: tuple[str, ...] = ()
    weights: tuple[tuple[str, float], ...] = ()
    model: str | None = None
    name: str | None = None
    n_layer: int = 6
    n_head: int = 4
    n_embd: int = 256
    n_positions: int = 512
    vocab_size: int = 8192
    tokens: int | None = None
    minutes: float | None = None
    batch_tokens: int = 8192
    optimizer: PretrainingOptimizer = "muon"
    schedule: PretrainingSchedule = "cosine"
    learning_rate: float | None = None
    weight_decay: float = 0.1
    held_out: float = 0.01
    seed: int = 123
    precision: TrainingPrecision = "auto"
    store_as: StoredAs = "float32"
    device: Device = field(default="auto", metadata=NO_EFFECT)


def run(
    settings: PretrainSettings,
    workspace: Workspace,
    reporter: Reporter = SILENT,
    resume: bool = False,
) -> Artifact:
    """Writes a `models/NAME/vN` that every other stage reads, with its history and a model card.

    `resume` goes on with the interrupted run of the same settings and texts; with the trapezoid
    schedule the budget may be another. Started by torchrun, the processes train together; started
    again by it, they go on. Raises Interrupted, UsageError, MissingInputError,
    BadDataError or IntegrityError.
    """
    from spamgpt.data.corpus import find_sources
    from spamgpt.training.checkpoint import Checkpoint
    from spamgpt.training.distributed import from_main, held_by_main, restarted

    if (settings.tokens is None) == (settings.minutes is None):
        raise UsageError("Give one budget.", "Use `tokens=50000000` or `minutes=60`.")
    if settings.n_embd % settings.n_head:
        raise UsageError(
            f"`n_embd` {settings.n_embd} is not a multiple of `n_head` {settings.n_head}.",
            "Choose others.",
        )
    base = from_main(lambda: workspace.newest("models", settings.model) if settings.model else None)
    if not base and (problem := memory_problem(_shape(settings).parameters, _TRAINED)):
        raise UsageError(f"{problem}.", "Lower `n_embd`, `n_layer`, `vocab_size` or `n_positions`.")
    rate = settings.learning_rate or PRETRAINING_RATES[settings.optimizer]
    settings = replace(settings, learning_rate=rate)
    sources = find_sources([Path(text) for text in settings.texts], dict(settings.weights))
    record = from_main(lambda: _run_record(settings, sources, base))

    def place() -> AbstractContextManager[Checkpoint]:
        if resume:
            wanted = record["settings"]
            return Checkpoint.resume(
                workspace.root, STAGE, wanted, lambda found: found.record == record
            )
        if restarted():
            return Checkpoint.start_or_resume(workspace.root, STAGE, record)
        return Checkpoint.start(workspace.root, STAGE, record)

    with held_by_main(place) as checkpoint:
        state = checkpoint.load() if checkpoint.is_resumable else None
        return _train(settings, sources, base, workspace, reporter, checkpoint, state)


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

    from spamgpt.data.corpus import describe_sources, join_shards, read_shard
    from spamgpt.device import resolve_device, resolve_precision
    from spamgpt.gpt2.folder import CARD_FILE, CONFIG_FILE
    from spamgpt.training import distributed
    from spamgpt.training.pretraining import (
        Budget,
        PretrainingHyperparameters,
        history_rows,
        pretraining,
    )

    device = resolve_device(settings.device)
    distributed.check_device(device)
    bfloat16 = resolve_precision(settings.precision, device) == torch.bfloat16
    name = settings.name or (base.name if base else NEW_NAME)
    inputs = [base] if base else []
    with distributed.held_by_main(
        lambda: workspace.new(
            "models", settings, inputs=inputs, name=artifact_name(name), stage=STAGE
        )
    ) as draft:
        model, tokenizer = _begin(settings, sources, base, draft.folder, reporter)
        config = model.config
        reporter.note("Reading the texts")
        shard = read_shard(
            sources,
            tokenizer,
            config.n_positions,
            settings.held_out,
            distributed.rank(),
            distributed.size(),
        )
        training_part, held_out = join_shards(distributed.gathered(shard))
        assert settings.learning_rate is not None
        chosen = PretrainingHyperparameters(
            Budget(settings.tokens, settings.minutes),
            settings.batch_tokens,
            settings.learning_rate,
            settings.weight_decay,
            settings.seed,
            settings.optimizer,
            settings.schedule,
        )
        weights = [source.weight for source in sources]
        run = pretraining(model, chosen, training_part, held_out, weights, device, bfloat16)
        if state is not None:
            run.load_state_dict(state)
            _check_budget(run, state)
        reporter.note(
            f"{sum(p.numel() for p in model.parameters()):,} parameters; "
            f"{len(training_part.token_ids):,} tokens to train on, "
            f"{len(held_out.token_ids):,} held out; {'bfloat16' if bfloat16 else 'float32'} "
            f"on {device.type}"
        )
        run.train(
            checkpoint,
            reporter,
            history_rows(reporter),
            "Go on with the same command and `resume`.",
        )
        if distributed.is_main():
            replace(config, eos_token_id=tokenizer.end_of_text).write(draft.folder / CONFIG_FILE)
            _write_model(settings, run, draft.folder)
            described = describe_sources(sources, training_part, held_out)
            draft.metadata.update(
                n_layer=config.n_layer,
                n_head=config.n_head,
                n_embd=config.n_embd,
                weights="pretrained",
                origin=f"{STAGE} from {base.reference if base else 'scratch'}",
                tokens=run.state.tokens,
                epochs=run.history[-1].epochs,
                held_out_loss=run.history[-1].held_out_loss,
                training_seconds=round(run.state.seconds, 1),
                sources=described,
            )
            card = _card(name, settings, config, base, described, run)
            (draft.folder / CARD_FILE).write_text(card, encoding="utf-8")
    if distributed.is_main():
        checkpoint.remove()
    return distributed.from_main(lambda: draft.artifact)


def _begin(
    settings: PretrainSettings,
    sources: "Sequence[Source]",
    base: Artifact | None,
    folder: Path,
    reporter: Reporter,
) -> "tuple[GPT2, Tokenizer]":
    """The model to begin with and its tokenizer, whose files are put into a folder."""
    from spamgpt.classifier.model import load_model
    from spamgpt.data.corpus import weighted_documents
    from spamgpt.gpt2.folder import TOKENIZER_FILES
    from spamgpt.training.distributed import from_main
    from spamgpt.training.pretraining import new_model
    from spamgpt.training.vocabulary import learn_vocabulary

    def put_tokenizer() -> None:
        if base is None:
            learn_vocabulary(weighted_documents(sources), settings.vocab_size, folder)
            return
        for file in TOKENIZER_FILES:
            (folder / file).write_bytes((base.folder / file).read_bytes())

    if base is None:
        reporter.note(f"Learning a vocabulary of {settings.vocab_size:,} tokens")
    from_main(put_tokenizer)
    return load_model(base) if base else new_model(_shape(settings), settings.seed, folder)


def _shape(settings: PretrainSettings) -> "GPT2Config":
    """That of a new model; its vocabulary may turn out smaller."""
    from spamgpt.gpt2.config import GPT2Config

    return GPT2Config(
        n_layer=settings.n_layer,
        n_head=settings.n_head,
        n_embd=settings.n_embd,
        n_positions=settings.n_positions,
        vocab_size=settings.vocab_size,
    )


def _check_budget(run: "Trainer[PretrainingRecord]", state: Mapping[str, Any]) -> None:
    """Refuses a budget that an interrupted run has exceeded already; its rate never came down."""
    if run.objective.is_finished(run.state) and not state["finished"]:
        raise UsageError(
            f"The interrupted run has trained on {run.state.tokens:,} tokens already.",
            "Give a larger budget with `tokens`.",
        )


def _write_model(
    settings: PretrainSettings, run: "Trainer[PretrainingRecord]", folder: Path
) -> None:
    import pandas as pd
    import torch

    from spamgpt.gpt2.folder import WEIGHTS_FILE
    from spamgpt.gpt2.weights import write_weights

    dtype = torch.float16 if settings.store_as == "float16" else torch.float32
    tensors = {name: tensor.to(dtype) for name, tensor in run.objective.model.state_dict().items()}
    write_weights(tensors, folder / WEIGHTS_FILE)
    history = pd.DataFrame([asdict(record) for record in run.history])
    history.to_csv(folder / "history.csv", index=False, lineterminator="\n")


def _card(
    name: str,
    settings: PretrainSettings,
    config: "GPT2Config",
    base: Artifact | None,
    sources: Sequence[Mapping[str, Any]],
    run: "Trainer[PretrainingRecord]",
) -> str:
    """A model card made from the run's own record."""
    from spamgpt.cards.pretrained import PretrainedCard, render_card

    return render_card(
        PretrainedCard(
            name=name,
            config=config,
            parameters=sum(parameter.numel() for parameter in run.objective.model.parameters()),
            tokens=run.state.tokens,
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
    """What makes two runs the same: all settings that change the result and the inputs' content.

    With the trapezoid the budget is none of them: it may grow while a run is interrupted.
    """
    budget = {"tokens", "minutes"} if settings.schedule == "trapezoid" else set()
    values = result_settings(settings)
    record: dict[str, Any] = json.loads(  # as it will be read back
        json.dumps(
            {
                "settings": {k: v for k, v in values.items() if k not in {"texts", *budget}},
                "texts": [[source.name, sha256(source.path)] for source in sources],
                "inputs": [base.as_input] if base else [],
            }
        )
    )
    return record
