from dataclasses import replace

from spamgpt.evaluation.report import sentences


def with_evaluation(report, **changes):
    return replace(report, evaluation=replace(report.evaluation, **changes))


def test_a_split_that_had_a_part_in_training_is_an_alarm(make_report):
    (warning,) = [
        each
        for each in sentences.cautions(with_evaluation(make_report(), split="validation"))
        if each.alarm
    ]
    assert "validation split had a part" in warning.text
    assert not any(each.alarm for each in sentences.cautions(make_report()))


def test_a_classifier_without_a_record_of_its_messages_is_told(make_report):
    told = [each.text for each in sentences.cautions(make_report())]
    unknown = sentences.cautions(with_evaluation(make_report(), seen_in_training=None))
    assert len(unknown) == len(told) + 1


def test_a_limit_of_less_than_one_message_is_said_to_stand_for_none(make_report):
    assert "0.1% is less than one" in sentences.point_note(make_report())


def test_without_a_worst_slice_none_stands_out(make_report):
    assert "over 160 characters, with 15 of 30 wrong" in sentences.worst_slice(make_report())
    assert "stands out" in sentences.worst_slice(with_evaluation(make_report(), slices=()))
