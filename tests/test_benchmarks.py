import torch

from benchmarks.plain import fast_logits, plain_logits
from spamgpt.stages import finetune
from spamgpt.stages.finetune import FinetuneSettings
from spamgpt.workspace import Workspace


def test_the_plain_way_of_the_accuracy_check_trains_what_spamgpt_trains(trained_workspace):
    workspace = Workspace(trained_workspace)
    settings = FinetuneSettings(epochs=2, learning_rate=1e-3, schedule="linear", precision="fp32")
    classifier = finetune.run(settings, workspace)
    fast, truth = fast_logits(classifier, workspace, "fp32")
    plain, same_truth = plain_logits(classifier, workspace)
    assert fast.shape == (len(truth), 2)
    assert torch.equal(truth, same_truth)
    torch.testing.assert_close(fast, plain, atol=1e-3, rtol=0)
    # What was trained matters: another run's answers are others.
    other, _ = fast_logits(workspace.newest("classifiers", "v1"), workspace, "fp32")
    assert (fast - other).abs().max() > 0.1
