import pytest


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "chat.txt"
    path.write_text("".join(f"see you at {number}, or later than that\n" for number in range(400)))
    return path


def test_a_model_that_exists_keeps_its_shape(spamgpt, texts, trained_workspace):
    options = ("--model", "tiny", "--tokens", 2000, "-w", trained_workspace)
    refused = spamgpt("pretrain", texts, *options, "--n-layer", 3, "--vocab-size", 300)
    assert refused.status == 2
    assert "--model cannot be combined with --n-layer, --vocab-size" in refused.err
    assert len(list((trained_workspace / "models").glob("*/v*"))) == 1


def test_a_source_that_is_left_out_alone_is_told(spamgpt, texts, tmp_path):
    refused = spamgpt(
        "pretrain", texts, "--weight", "chat=0", "--tokens", 2000, "-w", tmp_path / "w"
    )
    assert refused.status == 3
    assert "a weight above 0" in refused.err
