"""Requests of the shape that rspamd's GPT module sends, and OpenAI's own client."""

import gzip
import json

import openai
import pytest

from tests.serve.conftest import HAM, SPAM

PLAIN_PROMPT = (
    "Analyze this email strictly as a spam detector given the email message, subject, FROM and url "
    "domains. Evaluate spam probability (0-1). Output ONLY 3 lines:\n1. Numeric score (0.00-1.00)\n"
    "2. One-sentence reason citing whether it is spam, the strongest red flag, or why it is ham\n"
    "3. Primary concern category if found from the list: malware, phishing"
)


def rspamd(subject: str, text: str, prompt: str = PLAIN_PROMPT, **more) -> dict:
    """What the module sends, in its order."""
    contents = [
        f"Subject: {subject}",
        "Url domains: no urls found",
        "From: Zoe <a@b.example>",
        text,
    ]
    messages = [{"role": "system", "content": prompt}]
    messages += [{"role": "user", "content": content} for content in contents]
    return {
        "model": "spamgpt",
        "max_tokens": 1000,
        "temperature": 0.0,
        "messages": messages,
        **more,
    }


def ask(server, body: dict):
    packed = gzip.compress(json.dumps(body).encode())  # as rspamd sends it
    return server.post("/v1/chat/completions", packed, content_encoding="gzip")


@pytest.mark.parametrize(("subject", "spam"), [(SPAM, True), (HAM, False)])
def test_rspamd_reads_a_probability_a_reason_and_a_category(server, subject, spam):
    answer = ask(server, rspamd(subject, "ok then")).json()
    probability, reason, category = answer["choices"][0]["message"]["content"].split("\n")
    assert (float(probability) > 0.5) is spam
    label = "spam" if spam else "ham"
    assert reason.startswith(f"classifiers/v1: {label}, probability of spam ")
    assert ("WIN" in reason.partition(", words: ")[2]) is spam
    assert category == label
    assert answer["usage"]["total_tokens"] > 0


def test_the_subject_and_the_text_are_read_and_what_is_beside_them_is_not(server):
    def probability(body):
        return ask(server, body).json()["choices"][0]["message"]["content"].split("\n")[0]

    alone = {"messages": [{"role": "user", "content": f"{SPAM}\nok then"}]}
    assert probability(rspamd(SPAM, "ok then")) == probability(alone)


@pytest.mark.parametrize(
    "more", [{"response_format": {"type": "json_object"}}, {"prompt": "Answer in JSON."}]
)
def test_rspamd_reads_an_object_where_it_asks_for_json(server, more):
    content = ask(server, rspamd(SPAM, "now", **more)).json()["choices"][0]["message"]["content"]
    found = json.loads(content)
    assert found["probability"] > 0.5
    assert "FREE" in found["reason"]
    assert found["categories"] == ["spam"]


def test_the_client_of_openai_is_answered(server):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    with client:
        parts = [{"type": "text", "text": SPAM}]
        found = client.chat.completions.create(
            model="spamgpt", messages=[{"role": "user", "content": parts}]
        )
        assert float(found.choices[0].message.content.split("\n")[0]) > 0.5
        assert found.choices[0].finish_reason == "stop"
        assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
        assert [model.id for model in client.models.list()] == ["classifiers/v1"]
        with pytest.raises(openai.UnprocessableEntityError, match="stream"):
            client.chat.completions.create(
                model="x", messages=[{"role": "user", "content": "x"}], stream=True
            )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": "x"},
        {"messages": ["x"]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "system", "content": "x"}]},
    ],
)
def test_what_is_no_chat_is_refused(server, body):
    response = ask(server, body)
    assert response.status_code == 422
    assert response.json()["error"]["message"]
