"""sweep: a grid of settings and seeds on the same data, in one table; what is done is skipped."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from spamgpt.bundled import MINI_NAME
from spamgpt.device import Device
from spamgpt.errors import Interrupted, NetworkError, SpamgptError, UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages import fetch
from spamgpt.stages.evaluate import EvaluateSettings
from spamgpt.stages.fetch import FetchSettings
from spamgpt.stages.finetune import run_or_go_on
from spamgpt.stages.grid import Grid, Row, find_grid, read_grid
from spamgpt.stages.pipeline import evaluate_on, prepare_from, trained_before
from spamgpt.stages.plan import FinetuneSettings, Plan, plan
from spamgpt.workspace import NO_EFFECT, Artifact, Workspace, artifact_name

if TYPE_CHECKING:
    from spamgpt.evaluation.sweeps import SweepTable, SweptRow, Trained

_EVALUATE = EvaluateSettings(explain_mistakes=False, check_labels=False)


@dataclass(frozen=True)
class SweepSettings:
    """`grid` is a TOML file or the name of a bundled one.

    `model` and `prepared` are references that rows take which name none; None takes what the file
    says, or else the newest.
    """

    grid: str
    model: str | None = None
    prepared: str | None = None
    device: Device = field(default="auto", metadata=NO_EFFECT)


@dataclass(frozen=True)
class PlannedRow:
    """A row: the plan for each seed or, without any, why it is `not_run`; `done` are its runs."""

    row: Row
    plans: Sequence[Plan]
    done: int
    not_run: str | None = None

    @property
    def model(self) -> Artifact | None:
        """The pretrained model of all its runs."""
        return self.plans[0].model if self.plans else None

    @property
    def trained_parameters(self) -> int | None:
        """How many numbers training changes."""
        return self.plans[0].trained_parameters if self.plans else None


@dataclass(frozen=True)
class PlannedSweep:
    """The rows on their data; nothing is trained yet."""

    grid: Grid
    prepared: Artifact
    rows: Sequence[PlannedRow]


def plan_sweep(
    settings: SweepSettings, workspace: Workspace, reporter: Reporter = SILENT
) -> PlannedSweep:
    """Prepares the data, if that is not done, and checks every row.

    Raises BadDataError or UsageError naming the file and the run, MissingInputError or
    IntegrityError. A row whose model is not there is planned as one that is not run.
    """
    path = find_grid(settings.grid)
    grid = read_grid(path)
    if grid.prepare and settings.prepared is None:
        dataset = workspace.newest("datasets", grid.prepare.dataset)
        prepared = prepare_from(dataset, grid.prepare, workspace, reporter).artifact
    else:
        prepared = workspace.newest("prepared", settings.prepared or grid.prepared)
    rows = []
    for row in grid.rows:
        try:
            rows.append(_plan_row(row, grid.seeds, prepared, settings, workspace))
        except UsageError as error:
            raise UsageError(f"{path}, run {row.name!r}: {error.message}", error.hint) from error
    return PlannedSweep(grid, prepared, rows)


def _plan_row(
    row: Row,
    seeds: Sequence[int],
    prepared: Artifact,
    settings: SweepSettings,
    workspace: Workspace,
) -> PlannedRow:
    named, model = row.model or settings.model, None
    # A classifier to start from brings its own model.
    if named or row.weights == "random" or not row.settings.start_from:
        model, reason = _model(named, row, workspace)
        if model is None:
            return PlannedRow(row, [], 0, reason)
    chosen = replace(
        row.settings,
        prepared=prepared.reference,
        model=model.reference if model else None,
        device=settings.device,
    )
    plans = [plan(replace(chosen, seed=seed), workspace) for seed in seeds]
    done = sum(bool(trained_before(each.settings, each.inputs, workspace)) for each in plans)
    return PlannedRow(row, plans, done)


def _model(named: str | None, row: Row, workspace: Workspace) -> tuple[Artifact | None, str | None]:
    """The model of a row or why there is none. What is bundled or can be drawn is fetched."""
    from spamgpt.sources.stored import find_model

    found = find_model(named, "pretrained", workspace)
    if found is None and named == MINI_NAME:
        found = fetch.run(FetchSettings(model=named), workspace)[1]
    if found is None:
        what = f"the model {named}" if named else "a pretrained model"
        return None, f"{what} is not in the workspace"
    if row.weights == "random":
        drawn = find_model(found.name, "random", workspace)
        if drawn is None:
            source = found.settings.get("source")
            try:
                drawn = fetch.run(FetchSettings(model=source, weights="random"), workspace)[1]
            except NetworkError as error:
                return None, error.message
        return drawn, None
    return found, None


def run(
    settings: SweepSettings, workspace: Workspace, reporter: Reporter = SILENT
) -> tuple[Artifact, "SweepTable"]:
    """Trains and evaluates what is not done yet, and writes the table.

    Stopped by Ctrl-C or killed, the next run with the same file goes on where it was. A run that
    fails, by diverging for example, makes a row that says so. Raises Interrupted and what
    `plan_sweep` raises.
    """
    from spamgpt.evaluation.sweeps import SweepTable, draw_sweep

    planned = plan_sweep(settings, workspace, reporter)
    grid, path = planned.grid, find_grid(settings.grid)
    rows: list[SweptRow] = []
    runs = sum(len(row.plans) for row in planned.rows)
    with reporter.task(f"Sweep {grid.name}", runs, "runs") as task:
        for row in planned.rows:
            try:
                rows.append(_swept(row, planned.prepared, workspace, task.advance))
            except Interrupted as error:
                raise Interrupted(
                    f"Stopped in {row.row.name}; what is done is kept.",
                    f"Go on with: spamgpt sweep {settings.grid}",
                ) from error
    table = SweepTable.of(grid.seeds, rows)
    with workspace.new(
        "sweeps", settings, [planned.prepared], artifact_name(grid.name), reuse=True
    ) as draft:
        shutil.copyfile(path, draft.folder / "sweep.toml")
        table.to_frame().to_csv(draft.folder / "table.csv", index=False, lineterminator="\n")
        table.runs_frame().to_csv(draft.folder / "runs.csv", index=False, lineterminator="\n")
        (draft.folder / "table.md").write_text(table.to_markdown(), encoding="utf-8")
        draw_sweep(table, draft.folder / "chart.png")
        draft.metadata.update(
            rows=len(rows),
            runs=sum(len(row.runs) for row in rows),
            seeds=list(grid.seeds),
            not_run={row.name: row.not_run for row in rows if row.not_run},
        )
    return draft.artifact, table


def _swept(
    planned: PlannedRow,
    prepared: Artifact,
    workspace: Workspace,
    advance: Callable[[int, str], None],
) -> "SweptRow":
    """The runs of a row, found or made."""
    from spamgpt.evaluation.sweeps import SweptRow

    runs: list[Trained] = []
    row, not_run = planned.row, planned.not_run
    for each in planned.plans:
        settings = each.settings
        classifier = trained_before(settings, each.inputs, workspace)
        if classifier is None:
            try:
                classifier = run_or_go_on(settings, workspace)
            except Interrupted:
                raise
            except SpamgptError as error:
                not_run = f"seed {settings.seed}: {error.message}"
                advance(1, f"{row.name}, seed {settings.seed}")
                continue
        step = evaluate_on(prepared, classifier, _evaluation(settings), workspace, SILENT)
        runs.append(_trained(settings.seed, classifier, step.artifact))
        advance(1, f"{row.name}, seed {settings.seed}")
    if not_run and runs:
        # The mean over the other seeds would not compare with that of the other rows.
        runs = []
    return SweptRow(row.name, planned.trained_parameters, runs, not_run, row.published)


def _evaluation(settings: FinetuneSettings) -> EvaluateSettings:
    """Scored in the precision of training: a table compares what was trained."""
    return replace(_EVALUATE, precision=settings.precision, device=settings.device)


def _trained(seed: int, classifier: Artifact, evaluation: Artifact) -> "Trained":
    from spamgpt.data.rows import LABEL
    from spamgpt.data.tables import read_table
    from spamgpt.evaluation.sweeps import Trained

    predictions = read_table(evaluation.file("predictions.csv"))
    correct = (predictions[LABEL] == predictions["predicted"]).to_numpy(dtype=bool)
    accuracy = {
        "train": classifier.metadata["training_accuracy"],
        "validation": classifier.metadata["validation_accuracy"],
        "test": float(correct.mean()),
    }
    seconds = float(classifier.manifest["seconds"])
    return Trained(seed, classifier.reference, evaluation.reference, accuracy, correct, seconds)
