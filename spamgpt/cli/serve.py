"""spamgpt serve"""

from pathlib import Path
from typing import Annotated

import typer

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
    reports_errors,
    settings_from,
)
from spamgpt.device import set_threads
from spamgpt.serve.limits import Limits
from spamgpt.stages.serve import ServeSettings, run
from spamgpt.workspace import Workspace


@reports_errors
def command(
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. Any but this machine's own needs --token-file."),
    ] = ServeSettings.host,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")
    ] = ServeSettings.port,
    spamd: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Also speak the protocol of SpamAssassin's spamd there: 127.0.0.1:783, or the "
            "path of a unix socket.",
            show_default=False,
        ),
    ] = ServeSettings.spamd,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token that HTTP clients must send. Without, only this machine's "
            "own addresses can be listened on.",
            show_default=False,
        ),
    ] = ServeSettings.token_file,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let other machines ask without a token.")
    ] = ServeSettings.no_token,
    symbols: Annotated[
        bool,
        typer.Option(
            help="Name the strongest words in answers to mail filters; a mail then takes as long "
            "as dozens."
        ),
    ] = ServeSettings.symbols,
    corrections: Annotated[
        bool,
        typer.Option(
            help="Let clients correct answers; what they say is kept in the workspace for training."
        ),
    ] = ServeSettings.corrections,
    train_after: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Train on the corrections each time there are N more; a better classifier is "
            "taken up.",
            show_default="never",
        ),
    ] = ServeSettings.train_after,
    max_body: Annotated[
        int, typer.Option(min=1, metavar="BYTES", help="Maximum size of a request or a mail.")
    ] = Limits.max_body,
    max_text: Annotated[
        int, typer.Option(min=1, metavar="CHARACTERS", help="Maximum length of a message.")
    ] = Limits.max_text,
    max_texts: Annotated[
        int, typer.Option(min=1, help="Maximum number of messages in a request.")
    ] = Limits.max_texts,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Maximum number of messages that wait to be classified.")
    ] = Limits.max_queue,
    max_connections: Annotated[
        int, typer.Option(min=1, help="Maximum number of connections.")
    ] = Limits.max_connections,
    max_client_connections: Annotated[
        int, typer.Option(min=1, help="Maximum number of connections of one address.")
    ] = Limits.max_client_connections,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Maximum time for a request to arrive, and again for its answer.",
        ),
    ] = Limits.timeout,
    threshold: ThresholdOption = ServeSettings.threshold,
    classifier: Annotated[
        str | None,
        typer.Option(
            help="Classifier to use: a version such as v1, a saved folder or a .spamgpt file, or "
            "bundled, which comes with spamgpt.",
            show_default="the newest, and newer ones as they come; else bundled",
        ),
    ] = ServeSettings.classifier,
    precision: PrecisionOption = ServeSettings.precision,
    max_batch_tokens: MaxBatchTokensOption = ServeSettings.max_batch_tokens,
    device: DeviceOption = ServeSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Answer mail servers, programs and people: HTTP, spamd, rspamd's GPT module, a page.

    spamgpt serve

    curl http://127.0.0.1:8000/v1/classify --json '{"texts": ["WIN a prize"]}'

    spamgpt serve --spamd 127.0.0.1:783

    spamc --full <mail.eml

    spamgpt serve --train-after 50

    It runs until SIGTERM or Ctrl-C; what was accepted by then is answered. A newer classifier in
    the workspace is taken up without a restart; --classifier v3 stays with that one.
    """
    set_threads(threads)
    from spamgpt.cli.output.screen import ScreenReporter

    limits = settings_from(Limits, locals())
    settings = settings_from(ServeSettings, locals(), limits=limits)
    run(settings, Workspace(workspace), ScreenReporter(quiet))
