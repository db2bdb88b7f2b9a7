"""Public names of earlier versions: they work, warn, and name what takes their place."""

from __future__ import annotations

import pytest

import openai_meter
from openai_meter.reports.report import Report


@pytest.mark.parametrize(
    ("old", "new"),
    [("folded", "overflow_calls"), ("burn", "threshold_usage"), ("faults", "internal_errors"), ("feed", "add_sink"),
     ("leave", "remove_sink")],
)  # fmt: skip
def test_old_name_of_the_meter_warns_and_gives_the_new_one(old, new):
    """An attribute under its old name is the one under its new name, and the warning names both."""
    meter = openai_meter.Meter()
    with pytest.warns(DeprecationWarning, match=rf"Meter\.{old} is now called Meter\.{new}") as warnings:
        found = getattr(meter, old)
    assert found == getattr(meter, new)
    assert warnings[0].filename == __file__


def test_old_name_of_threshold_usage_warns_and_gives_the_new_class():
    """The class has its old name for one more version."""
    from openai_meter import alerts

    with pytest.warns(DeprecationWarning, match="ThresholdUsage"):
        assert alerts.Burn is alerts.ThresholdUsage


def test_report_with_old_keys_is_read():
    """A report that an earlier version saved has the counts under their old keys; the old attributes warn."""
    report = openai_meter.Meter().report()
    data = report.to_dict()
    data["folded"], data["faults"] = data.pop("overflow_calls") + 3, data.pop("internal_errors") + 2
    read = Report.from_dict(data)
    assert (read.overflow_calls, read.internal_errors) == (3, 2)
    with pytest.warns(DeprecationWarning, match="overflow_calls"):
        assert read.folded == 3
    with pytest.warns(DeprecationWarning, match="internal_errors"):
        assert read.faults == 2
