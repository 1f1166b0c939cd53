"""The arithmetic of benches, and the form of what they write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.report import Report, Target, quantile, ratio, rounded, row


@pytest.mark.parametrize(
    ("samples", "share", "expected"),
    [
        ([5.0], 0.95, 5.0),
        ([1.0, 2.0], 0.5, 1.5),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([float(n) for n in range(101)], 0.95, 95.0),
        ([1.0, 2.0, 3.0], 0.0, 1.0),
        ([1.0, 2.0, 3.0], 1.0, 3.0),
    ],
)
def test_a_quantile_is_interpolated_between_ordered_samples(
    samples: list[float], share: float, expected: float
) -> None:
    assert quantile(samples, share) == pytest.approx(expected)


def test_no_samples_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        quantile([], 0.5)


@pytest.mark.parametrize(
    ("value", "expected"), [(12.3456, 12.3), (0.012345, 0.0123), (9.999, 10.0), (123456.7, 123457.0), (0.0, 0.0)]
)
def test_figures_say_no_more_than_three_digits(value: float, expected: float) -> None:
    assert rounded(value) == expected


def test_a_row_is_held_against_its_target_by_its_median() -> None:
    made = row("cpu", [1.0, 2.0, 9.0], unit="ms", target=Target(limit=2.0))
    assert (made.n, made.p50, made.least, made.met, made.target) == (3, 2.0, 1.0, True, "target <= 2")
    assert row("cpu", [3.0], unit="ms", target=Target(limit=2.0, name="gate")).met is False
    assert row("rate", [3.0], unit="1/s", target=Target(limit=2.0, at_most=False)).met is True
    assert row("cpu", [3.0], unit="ms").met is None


def test_a_ratio_divides_medians_and_names_both_peers() -> None:
    ours, theirs = row("cpu", [2.0, 2.0, 4.0], unit="ms"), row("cpu", [8.0, 6.0, 9.0], unit="ms", peer="aiortc")
    made = ratio("less", ours, theirs, target=Target(limit=0.5))
    assert made is not None
    assert (made.peer, made.p50, made.least, made.met) == ("phoned/aiortc", 0.25, 0.333, True)
    fewer = ratio("times_fewer", ours, theirs, inverse=True)
    assert fewer is not None
    assert (fewer.peer, fewer.p50, fewer.least) == ("aiortc/phoned", 4.0, 3.0)


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    ours, nothing = row("cpu", [2.0], unit="ms"), row("cpu", [0.0], unit="ms")
    assert ratio("less", ours, None) is None
    assert ratio("less", None, ours) is None
    assert ratio("less", ours, nothing) is None


def test_the_file_has_machine_rows_and_what_was_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(name="some")
    assert report.add(None) is None
    report.add(row("cpu_ms", [1.0, 2.0], unit="ms", target=Target(limit=1.0)))
    report.skip("cpu_ms", "baresip", "not installed")
    report.publish(as_json=True, directory=tmp_path)
    written = json.loads((tmp_path / "some.json").read_text())
    assert written == json.loads(capsys.readouterr().out)
    assert set(written) == {"machine", "rows", "skipped"}
    assert {"cpu", "cores", "load_average", "load_average_after", "python", "packages"} <= set(written["machine"])
    assert written["rows"] == [
        {
            "name": "cpu_ms",
            "peer": "phoned",
            "unit": "ms",
            "n": 2,
            "p50": 1.5,
            "p95": 1.95,
            "least": 1.0,
            "target": "target <= 1",
            "met": False,
        }
    ]
    assert written["skipped"] == [{"name": "cpu_ms", "peer": "baresip", "reason": "not installed"}]


def test_the_table_shows_what_passed_what_missed_and_what_was_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(name="some")
    for value in (1.0, 3.0):
        report.add(row("cpu_ms", [value], unit="ms", target=Target(limit=2.0, name="gate"), note="40 calls"))
    report.skip("cpu_ms", "baresip", "not installed")
    report.publish(as_json=False, directory=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert "passed" in lines[1]
    assert "MISSED" in lines[2]
    assert lines[2].endswith("40 calls")
    assert lines[3] == "skipped: cpu_ms of baresip: not installed"
    assert "load average" in lines[4]
    assert str(tmp_path / "some.json") in lines[5]
