"""A policy server that replays one recorded episode's actions, to test evaluate.py without a policy.

    python replay_server.py EPISODE.npz [--port 0] [--chunk 8]

Answers every observation with the next chunk, and starts over on a new connection. Record without noise and variety:
then the actions bring the recorded init state to success.
"""
import argparse

import numpy as np
from websockets.sync.server import serve

from openpi import decode, encode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("episode")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=8)
    options = parser.parse_args()
    with np.load(options.episode) as file:
        actions = file["action"]

    def answer(socket):
        socket.send(encode({"replays": options.episode}))
        position = 0
        for message in socket:
            observation = decode(message)
            for name, shape in (("image", (256, 256, 3)), ("wrist_image", (256, 256, 3)), ("state", (8,))):
                found = observation[f"observation/{name}"].shape
                if found != shape:
                    socket.send(f"{name} has shape {found}, expected {shape}")
                    return
            chunk = actions[min(position, len(actions) - 1) : position + options.chunk]
            position += len(chunk)
            socket.send(encode({"actions": chunk}))

    with serve(answer, "127.0.0.1", options.port, max_size=None, compression=None) as server:
        print(f"listening on ws://127.0.0.1:{server.socket.getsockname()[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
