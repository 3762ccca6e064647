"""spamgpt turns a pre-trained GPT-2 into a text classifier.

    from spamgpt import SpamClassifier
    classifier = SpamClassifier.from_pretrained("workspace")
    classifier.predict(["see you at 7"])

`SpamGPTClassifier` trains one as an estimator of scikit-learn. Importing the package imports
neither torch nor scikit-learn; using a classifier does.
"""

import os
from typing import TYPE_CHECKING

from spamgpt.version import __version__

if TYPE_CHECKING:
    from spamgpt.classifier.model import SpamClassifier
    from spamgpt.estimator import SpamGPTClassifier

# torch's threads wait for each other after each of many short products. They spin for milliseconds
# before they sleep and, once another process computes, take the processor from the very thread
# they wait for. 2,000 turns take microseconds and bridge nearly all gaps between two products; with
# none, short products would take up to twice as long on a machine of their own. The runtime reads
# this when torch is loaded, hence here.
if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
    os.environ["GOMP_SPINCOUNT"] = "2000"

__all__ = ["SpamClassifier", "SpamGPTClassifier", "__version__"]


def __getattr__(name: str) -> object:
    if name == "SpamClassifier":
        from spamgpt.classifier.model import SpamClassifier

        return SpamClassifier
    if name == "SpamGPTClassifier":
        from spamgpt.estimator import SpamGPTClassifier

        return SpamGPTClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
