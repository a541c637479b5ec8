#!/usr/bin/env python3
"""check_trackio.py FOLDER: what `trackio show` displays of the runs in trackio's folder, as JSON (pip install trackio).

Imports the inbox as the dashboard does when it starts, then reads the database by trackio's own API:
{project: [{"name", "id", "config", "logs": [{"step", "timestamp", metric: value, ...}]}]}. Values that are not finite are
printed as null.
"""

import json
import math
import os
import sys

if len(sys.argv) != 2:
    sys.exit(__doc__)
os.environ["TRACKIO_DIR"] = sys.argv[1]

from trackio import Api  # noqa: E402  reads TRACKIO_DIR when it is imported
from trackio.server import import_inbox_once  # noqa: E402
from trackio.sqlite_storage import SQLiteStorage  # noqa: E402


def plain(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main():
    import_inbox_once()
    projects = {}
    for project in SQLiteStorage.get_projects():
        projects[project] = [
            {
                "name": run.name,
                "id": run.id,
                "config": run.config,
                "logs": [
                    {key: plain(value) for key, value in log.items()}
                    for log in SQLiteStorage.get_logs(project, run.name, run_id=run.id)
                ],
            }
            for run in Api().runs(project)
        ]
    print(json.dumps(projects, default=str))


if __name__ == "__main__":
    main()
