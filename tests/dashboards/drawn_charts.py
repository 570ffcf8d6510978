"""A chart as it reaches the browser, for tests that read it."""

from __future__ import annotations

import json
from typing import Any

from dashboards.vega import Chart


def told(chart: Chart) -> dict[str, Any]:
    """The specification with the rows of its frames in it."""
    rows = {name: json.loads(frame.write_json()) for name, frame in chart.frames.items()}
    return {**chart.spec, "datasets": rows}
