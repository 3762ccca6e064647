"""spamgpt predict"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from spamgpt.classifier.finding import BUNDLED
from spamgpt.classifier.predictor import UNSURE
from spamgpt.cli.inputs import found, read, watched
from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    DeviceOption,
    MaxBatchTokensOption,
    PrecisionOption,
    QuietOption,
    ThreadsOption,
    ThresholdOption,
    WorkspaceOption,
    given,
    reports_errors,
    settings_from,
)
from spamgpt.cli.output.answers import OutputFormat, Shape, Summary, shape_of, write_answers
from spamgpt.cli.scoring import (
    AddressOption,
    ConcurrencyOption,
    Engine,
    NumGpusOption,
    OutputOption,
    check_engine,
    score,
)
from spamgpt.data.records import Oversized
from spamgpt.device import keep_freed_memory, set_threads
from spamgpt.errors import BadDataError, UsageError
from spamgpt.reporting import Reporter
from spamgpt.stages.predict import (
    MAX_MESSAGE_SIZE,
    Answers,
    InputFormat,
    OnError,
    PredictSettings,
    run,
)
from spamgpt.stages.score import ScoreSettings
from spamgpt.workspace import Workspace

MIB = 1024 * 1024


@reports_errors
def command(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files with messages, Maildirs or other folders; with --engine ray also addresses "
            "such as s3://bucket/mails. Standard input if none or -.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        OutputFormat,
        typer.Option(
            help="Output format. text: a coloured table; tsv: label, probability, text; auto: text "
            "on a terminal, tsv in a pipe; with --engine ray, parquet if all inputs are, else "
            "jsonl."
        ),
    ] = "auto",
    only: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="Print only messages with this label, unchanged unless --format is given.",
        ),
    ] = None,
    input_format: Annotated[
        InputFormat,
        typer.Option(
            help="Input format. lines: one message per line; eml: one email; mbox: many emails; "
            "auto: guessed from the file name, mbox also from the first line."
        ),
    ] = PredictSettings.input_format,
    text_column: Annotated[
        str, typer.Option(help="Column or field that holds the messages.")
    ] = PredictSettings.text_column,
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Encoding of the input, such as utf-16 or cp1252; emails name their own.",
            show_default="utf-8, or what a byte order mark says",
        ),
    ] = PredictSettings.encoding,
    on_error: Annotated[
        OnError,
        typer.Option(
            help="What happens to a record that cannot be read. answer: it gets the label error, "
            "and the exit status is 4 after all others are answered; skip: it is left out; fail: "
            "it ends the command."
        ),
    ] = PredictSettings.on_error,
    max_message_size: Annotated[
        float,
        typer.Option(
            min=0.01, max=1024, metavar="MIB", help="Longest message that is read as a whole."
        ),
    ] = MAX_MESSAGE_SIZE / MIB,
    oversized: Annotated[
        Oversized,
        typer.Option(
            help="What happens to a longer message. cut: it is judged by its beginning and its "
            "end; error: it cannot be read (--on-error)."
        ),
    ] = PredictSettings.oversized,
    threshold: ThresholdOption = PredictSettings.threshold,
    unsure: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="Answer unsure if the probability of spam lies between these two.",
        ),
    ] = PredictSettings.unsure,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="Read the whole input as one message and answer by the exit status: 0 for spam, "
            "1 for ham, 2 for unsure, 3 for an error. Nothing is printed unless --format, --json "
            "or --only is given.",
        ),
    ] = False,
    add_header: Annotated[
        bool,
        typer.Option(
            "--add-header",
            help="Pass an email or mbox through with an X-Spam-Status header added. Standard input "
            "is read as one email; for an mbox, use --input-format mbox.",
        ),
    ] = False,
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas",
            help="In CSV and TSV, put ' before cells that a spreadsheet would take for a formula.",
        ),
    ] = False,
    watch: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Follow a growing file like tail -F: classify lines added from now on, also after "
            "log rotation, until Ctrl-C.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Highlight the words that led to each answer, found by leaving parts out. Slow.",
        ),
    ] = PredictSettings.explain,
    save: Annotated[
        bool, typer.Option("--save", help="Also save the answers as an artifact.")
    ] = PredictSettings.save,
    classifier: Annotated[
        str | None,
        typer.Option(
            help="Classifier to use: a version such as v1, a saved folder or a .spamgpt file, or "
            "bundled, which comes with spamgpt.",
            show_default="newest, else bundled",
        ),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help="What does the work. ray: a Ray cluster, which writes the answers into --output; "
            "a job that was stopped goes on where it was."
        ),
    ] = "local",
    output: OutputOption = None,
    address: AddressOption = ScoreSettings.address,
    concurrency: ConcurrencyOption = ScoreSettings.concurrency,
    num_gpus: NumGpusOption = ScoreSettings.num_gpus,
    precision: PrecisionOption = PredictSettings.precision,
    max_batch_tokens: MaxBatchTokensOption = PredictSettings.max_batch_tokens,
    device: DeviceOption = PredictSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: Annotated[bool, typer.Option("--json", help="Same as --format jsonl.")] = False,
    debug: DebugOption = False,
) -> None:
    """Classify messages in order, as they arrive: lines of text, tables or emails.

    cat messages.txt | spamgpt predict

    tail -f inbox.txt | spamgpt predict --only ham >clean.txt

    spamgpt predict messages.csv --text-column body --format jsonl

    spamgpt predict ~/Maildir inbox.mbox archive.jsonl.gz old.parquet --format csv

    spamgpt predict --engine ray --output answers s3://bucket/mails/

    In procmail: ":0fw" and "| spamgpt predict --add-header --quiet", then ":0:" and
    "* ^X-Spam-Status: Yes". Or use the exit status (0 is spam): "* ? spamgpt predict --exit-code".

    The probability shown is that of the answer; for unsure, it is that of spam. Every message gets
    an answer, even an empty line or a malformed email. The subject and the text of an email are
    read.

    A few messages are answered in float32 at once; torch is loaded when there are more, and
    computes in --precision.
    """
    from spamgpt.cli.output.screen import ScreenReporter

    reporter = ScreenReporter(quiet)
    check_engine(engine, format, given(context))
    if engine == "ray":
        settings = settings_from(
            PredictSettings,
            locals(),
            whole=False,
            untold="lines",
            max_message_size=int(max_message_size * MIB),
            pass_on=False,
        )
        job = settings_from(
            ScoreSettings,
            locals(),
            inputs=tuple(files or ()),
            predict=settings,
            chunk=ScoreSettings.chunk,
            format="jsonl" if json and format == "auto" else format,
        )
        score(job, Workspace(workspace), reporter, quiet)
        return
    set_threads(threads)
    keep_freed_memory()
    shape = shape_of("jsonl" if json and format == "auto" else format, only is not None)
    if add_header:
        shape = "headed"
    elif exit_code and format == "auto" and not json and only is None:
        shape = "none"
    paths = [Path(file) for file in files or ["-"]]
    if watch is not None:
        inputs = watched(watch, files, input_format, exit_code or add_header)
    else:
        paths = found(paths, input_format, reporter)
        inputs = read(paths, quiet)
    if add_header and paths == [Path("-")] and input_format == "auto":
        input_format = "eml"
    settings = settings_from(
        PredictSettings,
        locals(),
        whole=exit_code,
        untold="eml" if add_header else "lines",
        on_error="fail" if exit_code else on_error,
        max_message_size=int(max_message_size * MIB),
        pass_on=shape in ("headed", "unchanged"),
    )
    _check_options(settings, paths, shape, format, exit_code)
    answers = run(settings, Workspace(workspace), inputs, reporter)
    predictor = answers.predictor
    _check_labels(predictor.labels, only, exit_code, add_header)
    if answers.classifier == BUNDLED:
        reporter.note(
            "The bundled classifier answers (mini, made for English SMS, mail, chat and comments). "
            "To train your own: spamgpt run"
        )
    for text in answers.substitutions:
        reporter.warn(text)
    summary = Summary()
    try:
        # Closed, and what was answered saved, also where Ctrl-C hits between two answers.
        with closing(answers.batches):
            write_answers(answers, shape, only, summary, escape_formulas)
    except KeyboardInterrupt:
        if watch is not None or answers.saved:  # the way to end it
            reporter.note(str(summary))
        raise
    finally:
        if answers.saved:
            reporter.note(f"Saved: {answers.saved.reference}")
    _tell(summary, answers, settings, reporter)
    if summary.counts.total() != 1:
        reporter.note(str(summary))
    if exit_code:
        (label,) = summary.counts
        status = {predictor.positive_label: 0, UNSURE: 2}.get(label, 1)
        raise typer.Exit(status)
    if answers.errors and on_error == "answer":
        raise typer.Exit(BadDataError.exit_status)


def _tell(
    summary: Summary, answers: Answers, settings: PredictSettings, reporter: Reporter
) -> None:
    """Says at the end what is worth knowing of some messages."""
    if summary.long:
        some = f", of {summary.unread:,} of them not all" if summary.unread else ""
        reporter.note(
            f"Messages of more than {answers.predictor.classifier.context:,} tokens, read in "
            f"windows{some}: {summary.long:,}."
        )
    if summary.cut:
        limit = round(settings.max_message_size / MIB, 2)
        reporter.note(
            f"Messages of more than {limit:g} MiB, judged by their beginning and end: "
            f"{summary.cut:,}."
        )
    if summary.undecoded:
        reporter.warn(
            f"Messages that are not UTF-8: {summary.undecoded:,}. They look like "
            f"{summary.encoding}: give --encoding {summary.encoding}."
        )
    if summary.left_out:
        reporter.warn(
            f"The columns {', '.join(summary.left_out)} are left out because the first message "
            "does not have them; --format jsonl keeps them."
        )
    if answers.errors:
        done = "skipped" if settings.on_error == "skip" else "answered with error"
        reporter.warn(f"Records or files that could not be read, {done}: {answers.errors:,}.")


def _check_options(
    settings: PredictSettings,
    paths: Sequence[Path],
    shape: Shape,
    format: OutputFormat,
    exit_code: bool,
) -> None:
    """Raises UsageError for options that do not go together or with the files."""
    from spamgpt.data.files import format_of
    from spamgpt.data.mail import EML, MAIL_FORMATS, MBOX
    from spamgpt.data.rows import LINES

    chosen = settings.input_format
    formats = [format_of(path) if chosen == "auto" else chosen for path in paths]
    if exit_code and (len(paths) != 1 or formats[0] not in (LINES, EML)):
        raise UsageError(
            "--exit-code is for one message: an email or a text.",
            "Give it on standard input or as one file.",
        )
    if settings.explain and shape in ("headed", "unchanged", "none"):
        raise UsageError(
            "--explain does not work where messages are passed through or not printed.",
            "Use --format text, tsv, csv or jsonl, without --add-header.",
        )
    if shape == "headed":
        if format != "auto":
            raise UsageError("--add-header and --format cannot be combined.", "Leave one out.")
        if any(found not in (LINES, *MAIL_FORMATS) for found in formats):
            raise UsageError("--add-header is for emails.", "Give an email or an mbox.")
    if shape in ("headed", "unchanged") and formats.count(EML) > 1 and MBOX not in formats:
        raise UsageError(
            f"{formats.count(EML):,} emails would be joined into one.",
            "Use --format jsonl or csv: they name the file of each answer.",
        )


def _check_labels(
    labels: Sequence[str], only: str | None, exit_code: bool, add_header: bool
) -> None:
    """Raises UsageError for options that do not go with the labels."""
    if only is not None and only not in labels:
        raise UsageError(f"The classifier has no label {only!r}.", f"Use {' or '.join(labels)}.")
    if (exit_code or add_header) and len(set(labels) - {UNSURE}) > 2:
        raise UsageError(
            f"--exit-code and --add-header are for two labels, not {', '.join(labels)}.",
            "Use --format jsonl: it has the probability of every label.",
        )
