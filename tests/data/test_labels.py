import pandas as pd
import pytest

from spamgpt.data.labels import refuse_label_columns, require_labels, require_two_labels
from spamgpt.data.tables import read_labelled_file
from spamgpt.errors import BadDataError


def table(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(columns, dtype="str")


def test_a_row_without_a_label_is_named_by_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('label,text\nham,"two\nlines"\n ,hi\n')
    with pytest.raises(BadDataError, match=r"a\.csv, line 4: has no label"):
        require_labels(read_labelled_file(path), "label", "a.csv")


@pytest.mark.parametrize("label", ['["a", "b"]', "['a', 'b']", "['a' 'b']", "[]", "[1, 0]"])
def test_a_list_of_labels_is_refused_with_its_line(label):
    with pytest.raises(BadDataError, match=r"x, line 1: the label is a list.*multi-label") as told:
        require_labels(table(label=["a", label]), "label", "x")
    assert "\n" not in told.value.message


@pytest.mark.parametrize("label", ["[spam]", "a, b", "[", "]", '"a"', "[" * 9999 + "]" * 9999])
def test_a_label_may_look_odd(label):
    require_labels(table(label=[label]), "label", "x")


def test_a_column_for_each_label_is_refused():
    votes = table(text=["a", "b"], rude=["0", "1"], threat=["1", "1"])
    with pytest.raises(BadDataError, match=r"x has no column 'label'.*\(rude, threat\).*multi"):
        refuse_label_columns(votes, "x")
    refuse_label_columns(votes[["text", "rude"]], "x")


def test_one_label_is_not_enough():
    require_two_labels(table(label=["a", "b"]), "x")
    with pytest.raises(BadDataError, match="x has only the label 'a'"):
        require_two_labels(table(label=["a", "a"]), "x")
