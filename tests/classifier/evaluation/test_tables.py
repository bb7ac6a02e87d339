"""What an evaluation prints."""

from __future__ import annotations

from dataclasses import replace

from facepipe.classifier.evaluation.evaluate import Evaluation
from facepipe.classifier.evaluation.tables import (
    confusion_tables,
    figure_table,
    group_tables,
    sentences,
    size_lines,
    size_table,
)


def test_tables_and_sentences(evaluation: Evaluation) -> None:
    figures = figure_table(evaluation)
    assert [column.header for column in figures.columns] == ["figure", "all rows", "ages", "ranges", "points"]
    assert "gender.accuracy" in list(figures.columns[0].cells)
    assert [table.title for table in confusion_tables(evaluation)] == ["gender", "glasses"]
    assert any(str(table.title).startswith("by gender x race") for table in group_tables(evaluation))
    told = sentences(evaluation)
    assert any(line.startswith("gender accuracy, largest gap by gender: ") for line in told)
    assert any("on training rows" in line for line in told)


def test_the_table_by_size(evaluation: Evaluation) -> None:
    table = size_table(evaluation)
    assert table is not None
    assert [column.header for column in table.columns] == ["figure", "12 px", "16 px", "whole", "rows"]
    names = list(table.columns[0].cells)
    for name in ("gender.accuracy", "gender.balanced_accuracy", "gender.ece", "age.mae", "age.interval_coverage"):
        assert name in names
    assert {"eyes.eye_error", "glasses.accuracy"} <= set(names)
    assert any(line.startswith("gender.accuracy by size of the face: 12 px 0.") for line in size_lines(evaluation))
    assert size_table(replace(evaluation, sized={})) is None
