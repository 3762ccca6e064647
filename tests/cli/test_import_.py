import json


def test_an_export_becomes_a_version_of_another_workspace(spamgpt, trained_workspace, tmp_path):
    spamgpt("export", "v1", "--to", "huggingface", tmp_path / "out", "-w", trained_workspace)
    result = spamgpt("import", tmp_path / "out", "-w", tmp_path / "new")
    assert result.status == 0, result.err
    lines = [line.split(maxsplit=1) for line in result.out.splitlines()]
    assert lines[0][0] == "classifiers/v1"
    assert lines[0][1].startswith("ham, spam; threshold 0.")
    assert lines[1:] == [["from", "out"], ["model", "models/imported-out/v1"]]
    listed = spamgpt("artifacts", "-w", tmp_path / "new").out
    assert "models/imported-out/v1" in listed


def test_labels_and_the_summary_as_json(spamgpt, trained_workspace, tmp_path):
    spamgpt("export", "v1", "--to", "bundle", tmp_path / "f.spamgpt", "-w", trained_workspace)
    arguments = ("import", tmp_path / "f.spamgpt", "-w", tmp_path / "new", "--json")
    values = json.loads(spamgpt(*arguments, "--labels", "gut,schlecht").out)
    assert values["artifact"] == "classifiers/v1"
    assert values["labels"] == ["gut", "schlecht"]
    result = spamgpt(*arguments, "--labels", "one")
    assert result.status == 2
    assert "--labels is one" in result.err


def test_what_cannot_be_read_is_one_line(spamgpt, tmp_path):
    (tmp_path / "bad.spamgpt").write_bytes(b"\x80\x04cos\nsystem\n")
    result = spamgpt("import", tmp_path / "bad.spamgpt", "-w", tmp_path / "new")
    assert result.status == 4
    assert len(result.err.splitlines()) == 2
    assert "bad.spamgpt cannot be read" in result.err
