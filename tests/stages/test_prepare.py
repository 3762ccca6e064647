import collections
from pathlib import Path

import pytest

from spamgpt.data.corrections import Corrections
from spamgpt.data.rows import SPLITS
from spamgpt.data.tables import read_table, write_table
from spamgpt.errors import BadDataError, MissingInputError, UsageError
from spamgpt.reporting import Reporter
from spamgpt.stages import fetch, prepare
from spamgpt.stages.prepare import PrepareSettings
from spamgpt.workspace import Artifact, Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def with_dataset(workspace: Workspace, file: Path, make_model) -> Workspace:
    fetch.run(fetch.FetchSettings(dataset=str(file), model=str(make_model())), workspace)
    return workspace


def all_texts(artifact: Artifact) -> list[str]:
    return [text for name in SPLITS for text in read_table(artifact.folder / f"{name}.csv")["text"]]


def sizes(artifact: Artifact) -> list[int]:
    return [len(read_table(artifact.folder / f"{name}.csv")) for name in SPLITS]


def test_the_real_collection_has_the_published_counts(workspace, sms_collection, make_model):
    with_dataset(workspace, sms_collection, make_model)
    default = prepare.run(PrepareSettings(), workspace)
    assert default.metadata["read"] == 5574
    assert default.metadata["repeats_dropped"] == 403
    assert default.metadata["messages"] == 5171
    assert sizes(default) == [3619, 517, 1035]
    balanced = prepare.run(PrepareSettings(balance=True), workspace)
    assert sizes(balanced) == [914, 130, 262]
    published = prepare.run(PrepareSettings(balance=True, keep_duplicates=True), workspace)
    assert sizes(published) == [1045, 149, 300]
    labels: collections.Counter[str] = collections.Counter()
    for name in SPLITS:
        labels.update(published.metadata["splits"][name]["labels"])
    assert labels == {"ham": 747, "spam": 747}


def test_every_text_of_the_real_collection_survives(workspace, sms_collection, make_model):
    with_dataset(workspace, sms_collection, make_model)
    artifact = prepare.run(PrepareSettings(keep_duplicates=True), workspace)
    lines = sms_collection.read_bytes().decode().split("\n")[:-1]
    assert sorted(all_texts(artifact)) == sorted(line.split("\t", 1)[1] for line in lines)


def test_repeats_are_dropped_before_the_split(workspace, tmp_path, make_model):
    file = tmp_path / "a.tsv"
    file.write_text("".join(f"{'ham' if n % 2 else 'spam'}\ttext {n % 40}\n" for n in range(200)))
    with_dataset(workspace, file, make_model)
    artifact = prepare.run(PrepareSettings(), workspace)
    assert sorted(all_texts(artifact)) == sorted(f"text {n}" for n in range(40))
    assert artifact.metadata["repeats_dropped"] == 160


def test_the_same_settings_give_the_same_bytes(trained_workspace):
    workspace = Workspace(trained_workspace)
    first, again, other = (
        prepare.run(PrepareSettings(seed=seed), workspace) for seed in (123, 123, 7)
    )
    assert first.digest == again.digest != other.digest
    assert again.reference == "prepared/v3"


def test_the_columns_are_chosen_by_name_and_others_pass_through(workspace, tmp_path, make_model):
    file = tmp_path / "a.csv"
    rows = "".join(f"{n},{'ham' if n % 2 else 'spam'},body {n}\n" for n in range(30))
    file.write_text("when,v1,v2\n" + rows)
    with_dataset(workspace, file, make_model)
    artifact = prepare.run(PrepareSettings(label_column="v1", text_column="v2"), workspace)
    train = read_table(artifact.folder / "train.csv")
    assert list(train.columns) == ["label", "text", "when"]
    assert set(train["label"]) == {"ham", "spam"}
    with pytest.raises(
        BadDataError, match="no column 'label'; it has 'when', 'v1', 'v2'"
    ) as caught:
        prepare.run(PrepareSettings(), workspace)
    assert "`label_column=NAME`" in caught.value.hint


def test_a_missing_label_is_named_with_file_and_line(workspace, tmp_path, make_model):
    file = tmp_path / "a.csv"
    file.write_text("v1,text\nham,a\n,b\nspam,c\n")
    with_dataset(workspace, file, make_model)
    with pytest.raises(BadDataError, match=r"messages\.csv, line 3: has no v1"):
        prepare.run(PrepareSettings(label_column="v1"), workspace)


def test_texts_with_two_labels_are_told(workspace, tmp_path, make_model):
    file = tmp_path / "a.tsv"
    rows = "".join(f"{'ham' if n % 2 else 'spam'}\ttext {n}\n" for n in range(30))
    file.write_text(rows + "spam\ttext 1\n")
    with_dataset(workspace, file, make_model)
    heard = []

    class Listener(Reporter):
        def warn(self, text: str) -> None:
            heard.append(text)

    artifact = prepare.run(PrepareSettings(), workspace, Listener())
    assert artifact.metadata["conflicting_texts"] == 1
    assert heard == [
        "1 texts appear in datasets/a/v1 with different labels; the first of each is kept."
    ]


def test_one_label_is_not_enough(workspace, tmp_path, make_model):
    file = tmp_path / "a.tsv"
    file.write_text("kind\ttext\n" + "".join(f"ham\ttext {n}\n" for n in range(30)))
    with_dataset(workspace, file, make_model)
    with pytest.raises(BadDataError, match="only the label 'ham'"):
        prepare.run(PrepareSettings(label_column="kind"), workspace)


def test_lists_of_labels_are_refused(workspace, tmp_path, make_model):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "a", "topics": ["x", "y"]}\n{"text": "b", "topics": ["x"]}\n')
    with_dataset(workspace, file, make_model)
    with pytest.raises(BadDataError, match=r"line 2: the label is a list.*multi-label"):
        prepare.run(PrepareSettings(label_column="topics"), workspace)


def test_several_columns_of_labels_are_refused_and_one_of_them_can_be_chosen(
    workspace, tmp_path, make_model
):
    file = tmp_path / "a.csv"
    rows = "".join(f"text {n},{n % 2},{n % 3 % 2}\n" for n in range(30))
    file.write_text("text,rude,threat\n" + rows)
    with_dataset(workspace, file, make_model)
    with pytest.raises(BadDataError, match=r"\(rude, threat\).*multi-label") as caught:
        prepare.run(PrepareSettings(), workspace)
    assert "`label_column=rude`" in caught.value.hint
    assert prepare.run(PrepareSettings(label_column="rude"), workspace).metadata["labels"] == [
        "0", "1",
    ]  # fmt: skip


def test_without_a_data_set_the_hint_says_fetch(workspace):
    with pytest.raises(MissingInputError) as caught:
        prepare.run(PrepareSettings(), workspace)
    assert "spamgpt fetch" in caught.value.hint


def test_one_column_cannot_be_both(trained_workspace):
    with pytest.raises(UsageError):
        prepare.run(PrepareSettings(label_column="text"), Workspace(trained_workspace))


def test_a_damaged_data_set_is_not_read(trained_workspace):
    path = trained_workspace / "datasets" / "chat" / "v1" / "messages.csv"
    table = read_table(path)
    write_table(table.iloc[:-1], path)
    with pytest.raises(Exception, match=r"messages\.csv is damaged"):
        prepare.run(PrepareSettings(), Workspace(trained_workspace))


def test_the_published_recipe_makes_the_published_splits(workspace, sms_collection, make_model):
    with_dataset(workspace, sms_collection, make_model)
    published = prepare.run(PrepareSettings(recipe="published"), workspace)
    assert published.metadata["read"] == 5572
    assert sizes(published) == [1045, 149, 300]


def test_the_settings_tell_what_the_recipe_does(workspace, messages_file, make_model):
    with_dataset(workspace, messages_file, make_model)
    published = prepare.run(PrepareSettings(recipe="published"), workspace)
    told = {name: published.settings[name] for name in ("balance", "keep_duplicates", "stratify")}
    assert told == {"balance": True, "keep_duplicates": True, "stratify": False}
    assert sizes(published) == [56, 8, 16]
    plain = prepare.run(PrepareSettings(balance=True, stratify=False), workspace)
    assert all_texts(plain) != all_texts(published)


def test_corrections_become_training_data_and_the_splits_stay_as_they_are(trained_workspace):
    workspace = Workspace(trained_workspace)
    plain = workspace.newest("prepared", "v1")
    held_out = read_table(plain.file("test.csv")).iloc[0]
    other = "ham" if held_out["label"] == "spam" else "spam"
    corrections = Corrections(workspace)
    corrections.teach("quite new to it", "ham")
    corrections.teach(held_out["text"].upper(), other)
    taken = prepare.run(PrepareSettings(), workspace)
    assert taken.metadata["corrections"] == {
        "digest": corrections.digest, "taken": 2, "relabelled": 1, "added": 1
    }  # fmt: skip
    assert all_texts(taken) == [
        *read_table(plain.file("train.csv"))["text"],
        "quite new to it",
        *read_table(plain.file("validation.csv"))["text"],
        *read_table(plain.file("test.csv"))["text"],
    ]
    assert read_table(taken.file("test.csv")).iloc[0]["label"] == other
    assert taken.metadata["splits"]["train"]["messages"] == sizes(taken)[0]
    without = prepare.run(PrepareSettings(corrections="none"), workspace)
    assert without.digest == plain.digest
    assert "corrections" not in without.metadata


def test_corrections_with_labels_that_the_data_set_lacks_are_left_out(trained_workspace):
    workspace = Workspace(trained_workspace)
    Corrections(workspace).change([("one", "news"), ("two", "adverts"), ("three", "ham")])
    heard = []

    class Listener(Reporter):
        def warn(self, text: str) -> None:
            heard.append(text)

    artifact = prepare.run(PrepareSettings(), workspace, Listener())
    assert heard == ["Corrections left out because the data set has no label adverts, news: 2."]
    assert artifact.metadata["corrections"]["taken"] == 1


def test_the_published_recipe_takes_no_corrections_unless_asked():
    assert PrepareSettings().corrections == "train"
    assert PrepareSettings(recipe="published").corrections == "none"
    assert PrepareSettings(recipe="published", corrections="train").corrections == "train"
