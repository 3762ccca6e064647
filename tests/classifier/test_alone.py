"""The classifier can be lifted out: it needs nothing that stands above it."""

import subprocess
import sys

ALONE = """
import importlib.abc, sys

ABOVE = ("cli", "stages", "serve", "evaluation", "training", "sources", "cards")

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith("spamgpt.") and name.split(".")[1] in ABOVE:
            raise AssertionError(f"{name} is imported")

sys.meta_path.insert(0, Refuse())

import importlib, pkgutil
import spamgpt.classifier
for module in pkgutil.walk_packages(spamgpt.classifier.__path__, "spamgpt.classifier."):
    importlib.import_module(module.name)

from spamgpt import SpamClassifier
from spamgpt.classifier.predictor import Predictor

texts = ["WINNER! Claim your free prize now, call 09061701461", "see you at 7 then x"]
classifier = SpamClassifier.bundled("cpu")
assert classifier.predict(texts) == ["spam", "ham"]
assert any(span.weight > 0 for span in classifier.explain(texts[0]))
classifier.save_pretrained("saved")
loaded = SpamClassifier.from_pretrained("saved", device="cpu")
assert (loaded.predict_proba(texts) == classifier.predict_proba(texts)).all()
spam, _ = Predictor(loaded, unsure=(0.4, 0.6), explain=True).predict(texts)
assert spam.label == "spam" and spam.explanation
"""


def test_the_classifier_works_without_what_stands_above_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
