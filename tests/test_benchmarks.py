"""Benchmarks: what they write to results.csv."""

from pathlib import Path

import results
from results import read_results, unit_of, write_results


def test_new_figures_replace_those_of_the_same_case_and_machine(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_results("grid", {"two": {"serial_s": 3.0, "serial_ratio": 0.5}}, path, machine="slow")
    write_results("grid", {"two": {"serial_s": 2.0}}, path, machine="slow")
    write_results("grid", {"two": {"serial_s": 1.0}}, path, machine="fast")
    write_results("classify", {"vit": {"step_over_floor": 1.0}}, path, machine="fast")
    found = [(row.benchmark, row.measure, row.value, row.unit, row.machine) for row in read_results(path)]
    assert found == [
        ("classify", "step_over_floor", 1.0, "ratio", "fast"),
        ("grid", "serial_s", 2.0, "s", "slow"),
        ("grid", "serial_ratio", 0.5, "ratio", "slow"),
        ("grid", "serial_s", 1.0, "s", "fast"),
    ]
    assert all(row.commit and row.date for row in read_results(path))


def test_a_row_names_processor_and_cores() -> None:
    assert results.name_machine().split(", ")[1].endswith(" cores")


def test_committed_figures_have_one_row_each_and_units_by_name() -> None:
    rows = read_results()
    assert rows and len({row.key for row in rows}) == len(rows)
    assert [row for row in rows if row.unit != unit_of(row.measure)] == []
