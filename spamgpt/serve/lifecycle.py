"""The life of the daemon: newer classifiers are taken up, and its end loses nothing."""

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

import uvicorn
from prometheus_client import disable_created_metrics
from starlette.types import ASGIApp

from spamgpt.errors import as_user_error
from spamgpt.reporting import SILENT, Reporter
from spamgpt.serve.connections import Connections, bounded_http
from spamgpt.serve.service import Service, Serving
from spamgpt.serve.sockets import BACKLOG
from spamgpt.serve.spamd import SpamdServer

# A newer classifier is looked for so often, in seconds.
LOOK_EVERY = 2.0


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to `serve`: uvicorn would end by the signal, and not with status 0."""
        yield


async def serve(
    service: Service,
    app: ASGIApp,
    http: socket.socket,
    spamd: socket.socket | None = None,
    newer: Callable[[], Serving | None] = lambda: None,
    reporter: Reporter = SILENT,
    beside: Callable[[], Coroutine[None, None, None]] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serves until `stop`, by default SIGTERM or SIGINT; what was accepted by then is answered.

    `newer` is asked, in a thread, for a classifier to go on with; None keeps the one in use.
    `beside` is run until the end, at which it is cancelled.
    """
    # When a series began, which would double their number; `rate` and its like need none of it.
    disable_created_metrics()
    limits = service.limits
    connections = Connections(limits)
    server = _Server(
        uvicorn.Config(
            app,
            http=bounded_http(limits, connections),
            ws="none",
            lifespan="off",
            log_config=None,
            # What it would say may hold text of a message; what matters is said by this package.
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=int(max(1, limits.timeout)),
            timeout_graceful_shutdown=int(max(1, 2 * limits.timeout)),
        )
    )
    stop = stop or _signalled()

    async def end() -> None:
        await stop.wait()
        reporter.note("Stopping. What was accepted is answered first.")
        if listening:
            # A mail server that finds nobody tries again; one that is refused passes the mail on.
            listening.close()
        service.stop()
        server.should_exit = True

    mail = SpamdServer(service, connections)
    listening = spamd and await asyncio.start_server(mail.answer, sock=spamd, backlog=BACKLOG)
    tasks = [
        asyncio.create_task(end()),
        asyncio.create_task(_look_for_newer(service, newer, reporter)),
    ]
    if beside is not None:
        tasks.append(asyncio.create_task(beside()))
    try:
        await server.serve([http])
    finally:
        if listening:
            listening.close()
            await mail.stop()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        service.close()


def _signalled() -> asyncio.Event:
    """Is set when the process is asked to end."""
    event = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, event.set)
    return event


async def _look_for_newer(
    service: Service, newer: Callable[[], Serving | None], reporter: Reporter
) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        try:
            found = await asyncio.to_thread(newer)
        except Exception as error:
            reporter.warn(f"A newer classifier is not taken up: {as_user_error(error).message}")
            continue
        if found is not None:
            service.use(found)
            reporter.note(f"From now on {found.name} answers.")
