"""What the package brings along: messages, the model `mini`, a classifier, sweeps."""

from pathlib import Path

_ASSETS = Path(__file__).parent / "assets"

# SMS and short e-mails, two in five spam, written for this project: columns label, kind, text.
MESSAGES_NAME = "bundled-messages"
MESSAGES_FILE = _ASSETS / "messages.csv"
# A small GPT-2 of this project: a model folder like any other.
MINI_NAME = "mini"
MINI_FOLDER = _ASSETS / "mini"
# What fine-tuning changed in mini: a classifier folder.
CLASSIFIER_FOLDER = _ASSETS / "classifier"
# The grids that `spamgpt sweep` knows by name, one TOML file each.
SWEEPS_FOLDER = _ASSETS / "sweeps"
