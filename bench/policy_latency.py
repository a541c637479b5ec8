"""Latency and throughput of `craft serve`, measured by openpi-client.

    .venv-serving/bin/python bench/policy_latency.py --checkpoint runs/craft [--requests 200] [--clients 4]

Observations have two 256 x 256 images of noise. Prints p50 and p99 of a request for one client, and for several at
once, each a process of its own that sends its next request when it has its answer.
"""

import argparse
import multiprocessing
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))

from check_server import openpi_observation, server  # noqa: E402
from openpi_client.websocket_client_policy import WebsocketClientPolicy  # noqa: E402


def client(address: str, requests: int, seed: int) -> list[float]:
    """Milliseconds of each request; the first five are not counted."""
    policy = WebsocketClientPolicy(f"ws://{address}")
    observation = openpi_observation(seed)
    times = []
    for _ in range(requests + 5):
        start = time.perf_counter()
        policy.infer(observation)
        times.append((time.perf_counter() - start) * 1e3)
    return times[5:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=4)
    arguments = parser.parse_args()
    with server(arguments.checkpoint) as (_, address):
        for count in (1, arguments.clients):
            start = time.perf_counter()
            with multiprocessing.Pool(count) as pool:
                jobs = [(address, arguments.requests, seed) for seed in range(count)]
                times = np.concatenate(pool.starmap(client, jobs, chunksize=1))
            elapsed = time.perf_counter() - start
            p50, p99 = np.percentile(times, [50, 99])
            print(
                f"{count} client{'s' if count > 1 else ''}: {len(times)} requests held, p50 {p50:.1f} ms, "
                f"p99 {p99:.1f} ms, {len(times) / elapsed:.1f} requests/s"
            )


if __name__ == "__main__":
    main()
