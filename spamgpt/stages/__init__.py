r"""The stages of the pipeline. Each has a settings dataclass and `run(settings, workspace, …)`.

    >>> from pathlib import Path
    >>> from spamgpt.stages import evaluate, export, fetch, finetune, prepare
    >>> from spamgpt.workspace import Workspace
    >>> rows = [f"spam\tWIN a FREE prize, call {number}" for number in range(30)]
    >>> rows += [f"ham\tsee you at home, bus {number}" for number in range(30)]
    >>> _ = Path("messages.tsv").write_text("\n".join(rows))
    >>> workspace = Workspace(Path("workspace"))
    >>> settings = fetch.FetchSettings(dataset="messages.tsv", model="mini")
    >>> dataset, model = fetch.run(settings, workspace)
    >>> prepared = prepare.run(prepare.PrepareSettings(split="50/20/30"), workspace)
    >>> classifier = finetune.run(finetune.FinetuneSettings(epochs=2), workspace)
    >>> classifier.reference
    'classifiers/v1'
    >>> report, evaluation = evaluate.run(evaluate.EvaluateSettings(), workspace)
    >>> evaluation.scores.accuracy
    1.0
    >>> settings = export.ExportSettings("v1", "bundle", Path("filter.spamgpt"))
    >>> export.run(settings, workspace).target
    'filter.spamgpt'

What is slow to import (torch, pandas, scikit-learn) is imported when a stage runs, so that the
command line can read the settings' defaults without it.
"""
