#!/usr/bin/env python3
"""trackio_reference.py OUT: the fragment that trackio itself writes for three rows (Tests/Fixtures/trackio/fragment.jsonl).

The rows are those of `TrackioTests.rows`. Made with trackio 0.43.0: pip install trackio==0.43.0
"""

import math
import sys
from pathlib import Path

from trackio.fragments import FragmentWriter, metric_record

RUN = {"project": "libero", "run": "mine", "run_id": "0123"}
ROWS = [
    (0, "2026-11-25T19:51:05.250000+00:00", {"VLA Eval/Held-out L1 Loss": 0.5}),
    (1, "2026-11-25T19:51:06.000000+00:00", {"VLA Train/Loss": 0.25, "CRaFT/Lambda": math.nan, "ms": 12.5}),
    (1, "2026-11-25T19:51:07.000001+00:00", {"VLA Eval/Held-out L1 Loss": math.inf, "Plugin/a \"b\"": -1e300}),
]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    records = [
        metric_record(
            RUN
            | {
                "step": step,
                "timestamp": timestamp,
                "metrics": metrics,
                "config": {"steps": 3, "dataset": "libero", "plugins": [{"name": "BaselineL1"}]} if place == 0 else None,
                "log_id": f"0123-{place}",
            }
        )
        for place, (step, timestamp, metrics) in enumerate(ROWS)
    ]
    Path(sys.argv[1]).write_bytes(FragmentWriter.serialize_records(records))


if __name__ == "__main__":
    main()
