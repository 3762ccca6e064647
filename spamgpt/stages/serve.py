"""serve: keeps a classifier loaded and answers mail servers and programs until it is stopped."""

import asyncio
import gc
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spamgpt.classifier.finding import BUNDLED, loaded, which_classifier
from spamgpt.device import Device, Precision
from spamgpt.errors import UsageError
from spamgpt.extras import require
from spamgpt.reporting import SILENT, Reporter
from spamgpt.serve.limits import Limits
from spamgpt.stages.learner import Learner
from spamgpt.workspace import Workspace

if TYPE_CHECKING:
    from spamgpt.serve.service import Serving


@dataclass(frozen=True)
class ServeSettings:
    """`classifier` is what `find_classifier` takes; None takes up newer ones as they are made.

    `spamd` is `address:port` or the path of a unix socket. Any address but this machine's own needs
    `token_file` or, spelt out, `no_token`; the spamd protocol knows no token. With `symbols`, what
    mail filters ask for names the strongest words. With `corrections`, clients may correct answers:
    what they say is kept in the workspace. After `train_after` of them the newest classifier is
    trained onward, as `learn.run` does, while the one in use goes on answering.
    """

    classifier: str | None = None
    threshold: float | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    spamd: str | None = None
    token_file: Path | None = None
    no_token: bool = False
    symbols: bool = True
    corrections: bool = True
    train_after: int | None = None
    limits: Limits = field(default_factory=Limits)
    precision: Precision = "auto"
    max_batch_tokens: int | None = None
    device: Device = "auto"


def run(settings: ServeSettings, workspace: Workspace, reporter: Reporter = SILENT) -> None:
    """Serves until SIGTERM or SIGINT; what was accepted by then is answered.

    Raises MissingInputError without the extra, UsageError for settings that do not go together or
    an address that is taken, and what `find_classifier` raises.
    """
    require("serve", "fastapi", "uvicorn", "httptools", "prometheus_client")
    from spamgpt.serve.access import Access, is_loopback, read_token
    from spamgpt.serve.app import create_app
    from spamgpt.serve.lifecycle import serve
    from spamgpt.serve.service import Service
    from spamgpt.serve.sockets import address_of, listen

    if settings.limits.max_texts > settings.limits.max_queue:
        raise UsageError(
            f"`max_texts={settings.limits.max_texts}` is more than the queue holds.",
            "Raise `max_queue`, too.",
        )
    if settings.train_after is not None:
        _check_training(settings)
    token = read_token(settings.token_file) if settings.token_file else None
    address = address_of(settings.host, settings.port)
    if not address.is_local and token is None and not settings.no_token:
        raise UsageError(
            f"Whoever can reach {address} could classify messages, correct answers and read the "
            "metrics.",
            "Give a `token_file`, or `no_token` if that is meant.",
        )
    with (
        closing(listen(address)) as http,
        _spamd_socket(settings) as spamd,
        closing(_Classifiers(settings, workspace, reporter)) as classifiers,
    ):
        learner = Learner(settings.train_after, workspace, settings.device, reporter)
        teach = learner.teach if settings.corrections else None
        service = Service(classifiers.first, settings.limits, teach, settings.symbols)
        app = create_app(service, Access(token, local=token is None and address.is_local))
        url = f"http://{_told(http)}"
        reporter.note(f"Listening on {url} (for people; programs: {url}/docs).")
        if spamd:
            reporter.note(f"Listening on {_told(spamd)} for the spamd protocol.")
            if spamd.family != socket.AF_UNIX and not is_loopback(spamd.getsockname()[0]):
                reporter.warn(f"Other machines can reach {_told(spamd)}, without a token.")
        if not address.is_local:
            needs = "the token" if token else "no token"
            reporter.warn(f"Other machines can reach {address}; whoever asks needs {needs}.")
        learn = partial(learner.run, service.metrics)
        # What is here now stays: it need not be looked through for garbage.
        gc.freeze()
        asyncio.run(serve(service, app, http, spamd, classifiers.newer, reporter, learn))


def _check_training(settings: ServeSettings) -> None:
    if settings.classifier is not None:
        raise UsageError(
            f"`train_after` makes newer classifiers, but `classifier={settings.classifier}` stays.",
            "Leave one of the two out.",
        )
    if not settings.corrections:
        raise UsageError(
            "`train_after` counts corrections, and none are taken.", "Leave one of the two out."
        )


class _Classifiers:
    """The classifier to begin with, and newer ones as the workspace gets them."""

    def __init__(self, settings: ServeSettings, workspace: Workspace, reporter: Reporter) -> None:
        self._settings = settings
        self._workspace = workspace
        self._seen = workspace.folders("classifiers")
        self.first = self._load(reporter)

    def newer(self) -> "Serving | None":
        """The newest classifier if it has changed since the last call and none is pinned."""
        folders = self._workspace.folders("classifiers")
        if self._settings.classifier is not None or folders == self._seen:
            return None
        self._seen = folders  # also where it cannot be loaded: that is told once
        return self._load(SILENT)

    def close(self) -> None:
        """Ends the process of the one in use; those before ended with their last answer."""
        self._latest.close()

    def _load(self, reporter: Reporter) -> "Serving":
        from spamgpt.classifier.apart import ClassifierApart
        from spamgpt.classifier.predictor import Predictor
        from spamgpt.serve.service import Serving

        chosen = self._settings.device, self._settings.precision, self._settings.max_batch_tokens
        name, artifact = which_classifier(self._settings.classifier, self._workspace)
        named = artifact.reference if artifact else name
        apart = ClassifierApart(partial(loaded, named, self._workspace, *chosen))
        serving = Serving(name, Predictor(apart, self._settings.threshold))
        self._latest = apart
        if name == BUNDLED:
            reporter.note("The bundled classifier answers. To train your own: spamgpt run")
        for text in artifact.substitutions if artifact else ():
            reporter.warn(text)
        return serving


@contextmanager
def _spamd_socket(settings: ServeSettings) -> Iterator[socket.socket | None]:
    """What listens for the spamd protocol, if anything is to."""
    from spamgpt.serve.sockets import address_of, listen, listen_on_path

    if settings.spamd is None:
        yield None
        return
    named = settings.spamd
    if "/" in named:
        path = Path(named)
        with closing(listen_on_path(path)) as listener:
            try:
                yield listener
            finally:
                path.unlink(missing_ok=True)
        return
    host, _, port = named.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(
            f"`spamd={named}` is neither address:port nor the path of a unix socket.",
            "Give `spamd=127.0.0.1:783`, for example.",
        )
    address = address_of(host.strip("[]"), int(port))
    if not address.is_local and not settings.no_token:
        raise UsageError(
            f"Whoever can reach {address} could classify mails and teach: spamd knows no token.",
            "Listen on 127.0.0.1 or a unix socket, or give `no_token` if that is meant.",
        )
    with closing(listen(address)) as listener:
        yield listener


def _told(listener: socket.socket) -> str:
    from spamgpt.serve.sockets import Address

    name = listener.getsockname()
    return name if isinstance(name, str) else str(Address(*name[:2]))
