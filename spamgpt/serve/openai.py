"""`POST /v1/chat/completions`: the classifier in the place of a language model that is asked.

Made for rspamd's GPT module (3.9 and later): the request has a prompt of the system and then, as
messages of the user, `Subject: …`, `From: …`, `Url domains: …` and the text of a mail. The answer's
content is what that prompt asks for: the probability of spam, a reason and the label in three lines
or, where JSON is asked for, an object.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Mapping, Sequence

from spamgpt.classifier.predictor import Prediction
from spamgpt.serve.limits import unusable
from spamgpt.serve.service import Service, Serving
from spamgpt.serve.verdicts import in_words, probability_around_half, strongest_words

# What the module adds to a mail's subject and text. The classifier was not trained on it.
_BESIDE = ("From: ", "Url domains: ")
_SUBJECT = "Subject: "


async def complete(body: Mapping[str, object], service: Service) -> dict[str, object]:
    """The answer to a chat: a `chat.completion`. Raises Refused for what is none."""
    messages = _messages_of(body)
    if body.get("stream"):
        raise unusable("`stream` is not supported: the answer is one piece.")
    text = _text_of([content for role, content in messages if role == "user"])
    prompts = [content for role, content in messages if role != "user"]
    serving = service.serving
    (prediction,) = await service.classify([text], service.explain_mails, serving)
    content = _content(prediction, serving, as_json=_wants_json(body, prompts))
    encode = serving.predictor.classifier.tokenizer.encode
    read, written = map(len, await asyncio.to_thread(encode, [text, content]))
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": serving.name,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }


def models(service: Service) -> dict[str, object]:
    """The answer to `GET /v1/models`: the one there is."""
    model = {"id": service.serving.name, "object": "model", "created": 0, "owned_by": "spamgpt"}
    return {"object": "list", "data": [model]}


def _messages_of(body: Mapping[str, object]) -> list[tuple[str, str]]:
    """The role and the text of each message."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise unusable("`messages` is not a list of messages.")
    found = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise unusable("A message has no `role`.")
        content = message.get("content")
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "\n".join(part for part in parts if isinstance(part, str))
        if not isinstance(content, str):
            raise unusable("The `content` of a message is neither a string nor a list of parts.")
        found.append((message["role"], content))
    if not any(role == "user" for role, _ in found):
        raise unusable("There is no message of the `user` to classify.")
    return found


def _text_of(contents: Sequence[str]) -> str:
    """The message as a mail is read: its subject and its text, each on lines of its own."""
    if len(contents) == 1:
        return contents[0]
    *before, text = contents
    kept = [content for content in before if not content.startswith(_BESIDE)]
    return "\n".join([content.removeprefix(_SUBJECT) for content in kept] + [text])


def _wants_json(body: Mapping[str, object], prompts: Sequence[str]) -> bool:
    """Whether the format or, as OpenAI demands it beside the format, the prompt names JSON."""
    format = body.get("response_format")
    kind = format.get("type") if isinstance(format, dict) else None
    return kind in ("json_object", "json_schema") or any("json" in each.lower() for each in prompts)


def _content(prediction: Prediction, serving: Serving, as_json: bool) -> str:
    probability = round(probability_around_half(prediction, serving.predictor), 4)
    reason = f"{serving.name}: {in_words(prediction, serving.predictor)}"
    if words := strongest_words(prediction):
        reason += f", words: {' '.join(word for word, _ in words)}"
    if as_json:
        return json.dumps(
            {"probability": probability, "reason": reason, "categories": [prediction.label]}
        )
    return f"{probability}\n{reason}\n{prediction.label}"
