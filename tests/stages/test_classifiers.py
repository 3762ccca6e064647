import numpy as np
import pytest

from spamgpt import SpamClassifier
from spamgpt.errors import MissingInputError
from spamgpt.stages.classifiers import BUNDLED, find_classifier
from spamgpt.workspace import Workspace


@pytest.fixture
def workspace(trained_workspace) -> Workspace:
    return Workspace(trained_workspace)


@pytest.mark.parametrize("named", [None, "v1", "classifiers/v1"])
def test_a_version_is_one_of_the_workspace(workspace, named):
    name, artifact, classifier = find_classifier(named, workspace, "cpu")
    assert name == "classifiers/v1"
    assert artifact is not None
    assert classifier.context == 64


@pytest.mark.parametrize("named", [None, BUNDLED])
def test_bundled_is_the_one_of_the_package_and_the_default_of_an_empty_workspace(tmp_path, named):
    name, artifact, classifier = find_classifier(named, Workspace(tmp_path / "none"), "cpu")
    assert (name, artifact, classifier.context) == (BUNDLED, None, 512)


def test_a_path_is_a_folder_or_a_bundle(workspace, tmp_path):
    original = SpamClassifier.from_pretrained(workspace.root, device="cpu")
    original.save_pretrained(tmp_path / "saved")
    original.to_huggingface(tmp_path / "theirs")
    original.to_bundle(tmp_path / "filter.spamgpt")
    places = ["saved", "theirs", "filter.spamgpt"]
    paths = [*(tmp_path / place for place in places), workspace.root / "classifiers" / "v1"]
    for path in paths:
        name, artifact, found = find_classifier(str(path), Workspace(tmp_path / "none"), "cpu")
        assert (name, artifact) == (str(path), None)
        np.testing.assert_allclose(
            found.predict_proba(["see you"]), original.predict_proba(["see you"]), atol=1e-2
        )


@pytest.mark.parametrize("named", ["nothing", "v7", "classifiers/v7", "no/such.spamgpt"])
def test_what_is_nowhere_is_told(workspace, named):
    with pytest.raises(MissingInputError, match=named):
        find_classifier(named, workspace)
