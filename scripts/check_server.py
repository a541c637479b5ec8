"""Checks `craft serve` with the clients that people use: openpi-client and vla-eval, as their authors release them.

    python3 -m venv .venv-serving && .venv-serving/bin/pip install -r scripts/requirements-serving.txt
    .venv-serving/bin/python scripts/check_server.py --checkpoint runs/craft

Starts `.build/release/craft serve` on a free port, speaks to it, stops it, and ends with exit code 0 when all was as
expected. With --fixtures DIR it only writes the messages of both clients that Tests/Serving reads.
"""

import argparse
import asyncio
import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import urllib.request

import numpy as np
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from vla_eval.connection import Connection
from vla_eval.protocol import numpy_codec
from vla_eval.protocol.messages import Message, MessageType, pack_message

ROOT = pathlib.Path(__file__).resolve().parent.parent


def frames(seed: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    smooth = rng.integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    tall = np.repeat(np.repeat(smooth, size // 8, axis=1), size // 8, axis=2)
    return np.ascontiguousarray(tall[0]), np.ascontiguousarray(tall[1])


def openpi_observation(seed: int, size: int = 256) -> dict:
    image, wrist = frames(seed, size)
    return {
        "observation/image": image,
        "observation/wrist_image": wrist,
        "observation/state": np.linspace(-0.5, 0.5, 8),
        "prompt": "pick up the black bowl",
    }


def vla_eval_observation(seed: int, size: int = 256) -> dict:
    image, wrist = frames(seed, size)
    return {
        "images": {"agentview": image, "wrist": wrist},
        "states": np.linspace(-0.5, 0.5, 8),
        "controller_states": np.zeros(8, dtype=np.float32),
        "task_description": "pick up the black bowl",
    }


def write_fixtures(folder: pathlib.Path) -> None:
    """One observation, 16 pixels a side, in every encoding that the two packages have."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = msgpack_numpy.packb(openpi_observation(0, 16) | {"prompt": np.str_("pick up the black bowl")})
    (folder / "openpi.msgpack").write_bytes(packed)
    for image_format in ("raw", "png", "jpeg"):
        numpy_codec.set_image_format(image_format)
        message = Message(MessageType.OBSERVATION, vla_eval_observation(0, 16), seq=7, timestamp=1.5)
        (folder / f"vla-eval-{image_format}.msgpack").write_bytes(pack_message(message))
    types = {
        name: np.array([1, 2, 100], dtype=name)
        for name in ("|i1", "|u1", "<i2", ">u2", "<i4", ">i8", "<f2", "<f4", ">f4", "<f8")
    }
    (folder / "types.msgpack").write_bytes(msgpack_numpy.packb(types))


@contextlib.contextmanager
def server(checkpoint: str, *options: str):
    command = [ROOT / ".build/release/craft", "serve", "--checkpoint", checkpoint, "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on ws://"), line
        yield process, line.removeprefix("listening on ws://").strip()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, f"the server ended with {process.returncode}"


def check(condition: bool, what: str) -> None:
    print(("ok    " if condition else "FAILED") + "  " + what)
    check.failures += not condition


check.failures = 0


def check_openpi(address: str) -> np.ndarray:
    client = WebsocketClientPolicy(f"ws://{address}")
    metadata = client.get_server_metadata()
    check(metadata["server"] == "craft", "openpi: metadata on connecting")
    result = client.infer(openpi_observation(0))
    shape = (metadata["action_horizon"], metadata["action_dim"])
    check(result["actions"].shape == shape and result["actions"].dtype == np.float32, f"openpi: actions {shape}")
    check(bool(np.isin(result["actions"][:, -1], (-1, 0, 1)).all()), "openpi: gripper -1 or 1")
    same = client.infer(openpi_observation(0))["actions"]
    check(np.array_equal(result["actions"], same), "openpi: the same observation gives the same actions")
    other = client.infer(openpi_observation(1))["actions"]
    check(not np.array_equal(result["actions"], other), "openpi: another observation gives other actions")
    wrong = {
        "observation/state": np.zeros(7),
        "observation/image": np.zeros((3, 224, 224), dtype=np.float32),
        "observation/wrist_image": b"neither",
        "prompt": 7,
    }
    for key, value in wrong.items():
        try:
            client.infer(openpi_observation(0) | {key: value})
            check(False, f"openpi: a wrong {key} is refused")
        except RuntimeError as error:
            sentence = str(error).splitlines()[-1]
            check(key.rsplit("/", 1)[-1] in sentence, f"openpi: a wrong {key} is refused: {sentence}")
    again = client.infer(openpi_observation(0))["actions"]
    check(np.array_equal(result["actions"], again), "openpi: the connection outlives errors")
    return result["actions"]


async def check_vla_eval(address: str, expected: np.ndarray) -> None:
    async with Connection(f"ws://{address}") as connection:
        info = connection.server_info
        check(info["model_server"] == "craft" and info["protocol_version"] == 1, "vla-eval: hello")
        check(info["observation_params"]["send_state"] is True, "vla-eval: asks for the state")
        for image_format in ("raw", "png"):
            numpy_codec.set_image_format(image_format)
            await connection.start_episode({"task": {"name": "a test"}})
            actions = [(await connection.act(vla_eval_observation(0)))["actions"] for _ in range(len(expected))]
            check(
                np.array_equal(np.stack(actions), expected),
                f"vla-eval, {image_format} images: a chunk one action at a time, equal to openpi's",
            )
        await connection.act(vla_eval_observation(0))
        await connection.end_episode({"success": True})
        await connection.start_episode({})
        first = (await connection.act(vla_eval_observation(1)))["actions"]
        check(not np.array_equal(first, expected[1]), "vla-eval: a new episode forgets the old chunk")
        await connection.start_episode({})
        try:
            await connection.act({"images": {}, "task_description": "x"})
            check(False, "vla-eval: a wrong observation is refused")
        except RuntimeError as error:
            check("agentview" in str(error), f"vla-eval: a wrong observation is refused: {error}")
        first = (await connection.act(vla_eval_observation(0)))["actions"]
        check(np.array_equal(first, expected[0]), "vla-eval: the connection outlives errors")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="a run of `craft train`")
    parser.add_argument("--fixtures", type=pathlib.Path, help="write the clients' messages there and end")
    arguments = parser.parse_args()
    if arguments.fixtures:
        write_fixtures(arguments.fixtures)
        return 0
    if not arguments.checkpoint:
        parser.error("--checkpoint is needed")
    for options, path in (((), ""), ((), "/vla-eval"), (("--protocol", "vla-eval"), "")):
        with server(arguments.checkpoint, *options) as (_, address):
            print(f"-- craft serve {' '.join(options)}, vla-eval at ws://{address}{path}")
            expected = check_openpi(f"{address}/openpi" if options else address)
            asyncio.run(check_vla_eval(address + path, expected))
            with urllib.request.urlopen(f"http://{address}/health") as response:
                health = json.load(response)
            check(health["status"] == "ok" and health["actions"] > 0, f"health: {health}")
    print("all as expected" if not check.failures else f"{check.failures} checks failed")
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
