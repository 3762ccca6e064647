"""An answer as JSON has it: what `predict --format jsonl` writes and a server sends."""

import re
from collections.abc import Mapping

from spamgpt.classifier.predictor import Prediction

# What an answer calls its own. A field of such a name is called `input_` and its name, and so on,
# in every answer alike: what was answered can be the input again, and no field is lost.
_OWN_NAME = re.compile(
    "(input_)*(label|probability|probabilities|text|windows|windows_left_out|bytes_left_out|error|"
    "explanation|explained_by)"
)


def renamed(fields: Mapping[str, object]) -> dict[str, object]:
    """A message's other fields under names that no answer calls its own."""
    return {
        f"input_{name}" if _OWN_NAME.fullmatch(name) else name: value
        for name, value in fields.items()
    }


def record_of(
    prediction: Prediction, others: Mapping[str, object] | None = None, bytes_left_out: int = 0
) -> dict[str, object]:
    """The answer and, behind it, the message's other fields, which were `renamed`.

    `bytes_left_out` is how many bytes of the message were not read.
    """
    return {
        "label": prediction.label,
        "probability": round(prediction.probability, 6),
        "probabilities": {name: round(p, 6) for name, p in prediction.probabilities.items()},
        "text": prediction.text,
        **({"windows": prediction.windows} if prediction.windows > 1 else {}),
        **({"windows_left_out": n} if (n := prediction.windows_left_out) else {}),
        **({"bytes_left_out": bytes_left_out} if bytes_left_out else {}),
        **_explained(prediction),
        **(others or {}),
    }


def _explained(prediction: Prediction) -> dict[str, object]:
    if prediction.explanation is None:
        return {}
    from spamgpt.classifier.explanation import METHOD

    spans = [
        {
            "start": span.start,
            "end": span.end,
            "text": prediction.text[span.start : span.end],
            "weight": round(span.weight, 4),
        }
        for span in prediction.explanation
    ]
    return {"explanation": spans, "explained_by": METHOD}
