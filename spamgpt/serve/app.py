"""The HTTP application: what is asked where. FastAPI routes and documents it.

Bodies are read by this package and not by FastAPI: they are bounded while they arrive, and no error
repeats what a message says.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spamgpt.serve import openai
from spamgpt.serve.access import HEALTH_PATHS, Access
from spamgpt.serve.bodies import parse_object, read_body
from spamgpt.serve.classify import JSON, LINES, MAIL, PLAIN, classify
from spamgpt.serve.docs import DOCS_HEADERS, docs_page
from spamgpt.serve.files import SUFFIXES, classify_file
from spamgpt.serve.limits import Refused, unusable
from spamgpt.serve.log import log_unexpected
from spamgpt.serve.metrics import CONTENT_TYPE
from spamgpt.serve.page import PAGE_PATHS, page_file
from spamgpt.serve.service import Service
from spamgpt.version import __version__

CLASSIFY_PATH = "/v1/classify"


def create_app(service: Service, access: Access | None = None) -> ASGIApp:
    """An ASGI application that any server can run; without `access` it answers whoever asks."""
    access = access or Access()
    app = FastAPI(
        title="spamgpt",
        version=__version__,
        summary="Is it spam? A fine-tuned GPT-2 answers.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(_Guard, service=service, access=access)
    app.add_exception_handler(HTTPException, _not_found)

    @app.post(CLASSIFY_PATH, openapi_extra=_CLASSIFY, response_class=Response)
    async def classify_messages(request: Request) -> Response:
        """Classify messages.

        The body is JSON, one text, one mail, or a stream of lines that are answered as they come.
        `?explain=true` adds the weight of every word, which takes as long as dozens of answers.
        """
        return await classify(request, service, request.state.seat)

    @app.post("/v1/classify/file", openapi_extra=_FILE, response_class=Response)
    async def classify_messages_of_file(request: Request) -> Response:
        """Classify the messages of a file.

        `?name=messages.csv` tells how the file is read, `&column=body` which column of a table
        holds the messages (by default `text`). The response is a line for each message.
        """
        return await classify_file(request, service, request.state.seat)

    @app.get("/v1/classifier", response_class=Response)
    async def show_classifier() -> Response:
        """What answers: its labels, its threshold and its model card (Markdown)."""
        return _json(
            {
                **service.serving.to_dict(),
                "takes_corrections": service.can_learn,
                "max_body": service.limits.max_body,
            }
        )

    @app.post("/v1/feedback", openapi_extra=_FEEDBACK, response_class=Response)
    async def teach(request: Request) -> Response:
        """Correct an answer: give the right label of a text, or null to forget the correction.

        The correction is on disk when the response comes.
        """
        # Of all content types, pages of other sites cannot send this one.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise Refused(415, "unsupported", f"The content type has to be {JSON}.")
        body = parse_object(await read_body(request, service.limits, request.state.seat))
        text, label = body.get("text"), body.get("label", False)
        if not isinstance(text, str):
            raise unusable("`text` is missing or not a string.")
        if label is not None and not isinstance(label, str):
            raise unusable("`label` is missing and neither a string nor null.")
        await service.teach(text, label)
        return _json({"label": label})

    @app.post("/v1/chat/completions", openapi_extra=_CHAT, response_class=Response)
    async def complete_chat(request: Request) -> Response:
        """Answer like a language model that was asked for the probability of spam.

        For rspamd's GPT module and others that ask an OpenAI-compatible model.
        """
        body = parse_object(await read_body(request, service.limits, request.state.seat))
        return _json(await openai.complete(body, service))

    @app.get("/v1/models", response_class=Response)
    async def list_models() -> Response:
        """The classifier in use, as OpenAI lists models."""
        return _json(openai.models(service))

    @app.get("/healthz", response_class=Response)
    async def tell_health() -> Response:
        """Whether the server is alive."""
        if not service.alive:
            raise Refused(503, "broken", "The classifier's thread has ended.")
        return _json({"status": "ok"})

    @app.get("/readyz", response_class=Response)
    async def tell_readiness() -> Response:
        """Whether the server takes new work."""
        service.check_open()
        return _json({"status": "ok", "classifier": service.serving.name})

    @app.get("/metrics", response_class=Response)
    async def show_metrics() -> Response:
        """Counters and timings for Prometheus."""
        return Response(service.metrics.exposition(), media_type=CONTENT_TYPE)

    for path in PAGE_PATHS:
        app.add_api_route(path, _page_file, include_in_schema=False)

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> Response:
        return Response(docs_page(app.openapi()), media_type="text/html", headers=DOCS_HEADERS)

    route = next(each for each in app.routes if getattr(each, "path", "") == CLASSIFY_PATH)

    async def answer_directly(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = route
        response = await classify_messages(Request(scope, receive))
        await response(scope, receive, send)

    directly = _Guard(answer_directly, service, access)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # Most requests classify. What FastAPI does before would take as long as all else done here.
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", CLASSIFY_PATH):
            await directly(scope, receive, send)
        else:
            await app(scope, receive, send)

    return answer


async def _page_file(request: Request) -> Response:
    return page_file(request.url.path)


def _body(content: Mapping[str, object]) -> dict[str, Any]:
    """What OpenAPI is told of a body, by content type."""
    return {"requestBody": {"required": True, "content": content}}


_TEXT = {"type": "string"}
_EXPLAIN = {
    "name": "explain",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False},
}
_CLASSIFY = {
    **_body(
        {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["texts"],
                    "properties": {
                        "texts": {"type": "array", "items": _TEXT},
                        "explain": {"type": "boolean", "default": False},
                    },
                },
                "example": {"texts": ["WIN a prize, call now", "see you at 7"], "explain": False},
            },
            PLAIN: {"schema": _TEXT, "example": "WIN a prize, call now"},
            MAIL: {"schema": _TEXT, "example": "Subject: lunch\n\nsee you at 12"},
            LINES: {"schema": _TEXT, "example": '{"text": "WIN a prize"}\n{"text": "see you"}'},
        }
    ),
    "parameters": [_EXPLAIN],
}
_FILE = {
    **_body({"application/octet-stream": {"schema": _TEXT, "example": "WIN a prize\nsee you"}}),
    "parameters": [
        {
            "name": "name",
            "in": "query",
            "required": True,
            "description": f"The name of the file; it ends in {', '.join(SUFFIXES)}.",
            "schema": _TEXT,
        },
        {
            "name": "column",
            "in": "query",
            "required": False,
            "schema": {"type": "string", "default": "text"},
        },
    ],
}
_FEEDBACK = _body(
    {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["text", "label"],
                "properties": {"text": _TEXT, "label": {"type": ["string", "null"]}},
            },
            "example": {"text": "WIN a prize, call now", "label": "spam"},
        }
    }
)
_CHAT = _body(
    {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["messages"],
                "properties": {"messages": {"type": "array", "items": {"type": "object"}}},
            },
            "example": {"messages": [{"role": "user", "content": "WIN a prize, call now"}]},
        }
    }
)


class _Guard:
    """Around every request: who may ask, how errors are told, what is counted."""

    def __init__(self, app: ASGIApp, service: Service, access: Access) -> None:
        self._app = app
        self._service = service
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("cache-control", "no-store")
                headers.setdefault("x-content-type-options", "nosniff")
            await send(message)

        try:
            self._access.check(scope["path"], Headers(scope=scope))
            if scope["path"] not in (*HEALTH_PATHS, "/metrics"):
                self._service.check_open()
            with self._service.room.seat() as seat:
                scope.setdefault("state", {})["seat"] = seat
                await self._app(scope, receive, watched)
        except Exception as error:
            if not isinstance(error, Refused):
                log_unexpected(error)
            if status:
                raise Refused(500, "unexpected", "The response could not be ended.") from None
            await _refusal(error)(scope, receive, watched)
        finally:
            endpoint = getattr(scope.get("route"), "path", "other")
            took = time.perf_counter() - began
            self._service.metrics.count_request("http", endpoint, status, took)


def _refusal(error: Exception) -> Response:
    if not isinstance(error, Refused):
        error = Refused(500, "unexpected", "Something went wrong here. It is in the log.")
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return _json(error.to_dict(), error.status, headers)


async def _not_found(request: Request, error: Exception) -> Response:
    """What no route answers."""
    assert isinstance(error, HTTPException)
    reason = {
        404: "There is nothing here; /docs lists what there is.",
        405: "This method is not allowed here.",
    }
    said = reason.get(error.status_code, "The request cannot be answered.")
    kind = "method_not_allowed" if error.status_code == 405 else "not_found"
    response = _refusal(Refused(error.status_code, kind, said))
    response.headers.update(error.headers or {})
    return response


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, headers, media_type=JSON)
