import numpy as np
import pytest

from spamgpt import SpamClassifier
from spamgpt.classifier.config import TRAINED_FILE
from spamgpt.classifier.finding import BUNDLED, find_classifier, find_quick_classifier
from spamgpt.classifier.quick import QuickClassifier
from spamgpt.errors import IntegrityError, MissingInputError
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


@pytest.mark.parametrize("named", [None, "v1", BUNDLED])
def test_a_quick_one_is_the_same_without_torch_at_first(workspace, named):
    name, artifact, classifier = find_quick_classifier(named, workspace)
    same_name, same_artifact, same = find_classifier(named, workspace, "cpu", "fp32")
    assert isinstance(classifier, QuickClassifier)
    assert (name, artifact and artifact.folder) == (same_name, same_artifact and artifact.folder)
    texts = ["see you", "WINNER! call now"] * 3
    np.testing.assert_allclose(
        classifier.predict_proba(texts), same.predict_proba(texts), atol=1e-5
    )


@pytest.mark.parametrize("chosen", [("cpu", "bf16"), ("cpu", "int8")])
def test_a_precision_that_only_torch_has_is_loaded_at_once(workspace, chosen):
    _, _, classifier = find_quick_classifier(None, workspace, *chosen)
    assert isinstance(classifier, SpamClassifier)


def test_a_damaged_file_is_told_before_a_quick_answer(workspace):
    file = workspace.root / "classifiers" / "v1" / TRAINED_FILE
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged"):
        find_quick_classifier(None, workspace)
