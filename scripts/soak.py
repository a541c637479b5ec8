"""Watches craft's memory and descriptors over long work.

    python3 scripts/soak.py serve RUN [--requests 100000]     a policy server under good, bad and broken-off requests
    python3 scripts/soak.py train MODEL [--steps 10000]        a training run

Prints resident memory and open descriptors at every tenth of the work. The exit status is 1 when memory grows by more than a tenth
between the second tenth, when everything is warm, and the end, or descriptors by more than two. Needs nothing but Python.
"""
import argparse
import base64
import os
import pathlib
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
CRAFT = os.environ.get("CRAFT", str(ROOT / ".build/release/craft"))


def pack(value):
    """MessagePack of what observations need."""
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, str):
        return struct.pack(">BH", 0xDA, len(value.encode())) + value.encode()
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    if isinstance(value, list):
        return struct.pack(">BH", 0xDC, len(value)) + b"".join(map(pack, value))
    return struct.pack(">BH", 0xDE, len(value)) + b"".join(pack(key) + pack(item) for key, item in value.items())


def array(data, kind, shape):
    return {b"__ndarray__": True, b"data": data, b"dtype": kind, b"shape": shape}


def observation(seed):
    pixels = random.Random(seed).randbytes(16 * 16 * 3)
    return pack({
        "observation/image": array(pixels, "|u1", [16, 16, 3]), "observation/wrist_image": array(pixels, "|u1", [16, 16, 3]),
        "observation/state": array(struct.pack("<8f", *[0.1] * 8), "<f4", [8]), "prompt": "pick up the black bowl",
    })


class Client:
    """A WebSocket client of an openpi server."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        self.buffer = self.buffer.partition(b"\r\n\r\n")[2]
        self.answer()  # what the server is

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.buffer += data

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def answer(self):
        """(opcode, payload) of the next message; pings are passed over."""
        while True:
            first, length = self.take(2)
            if length == 126:
                (length,) = struct.unpack(">H", self.take(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.take(8))
            payload = self.take(length)
            if first & 15 != 9:
                return first & 15, payload

    def send(self, message):
        self.socket.sendall(struct.pack(">BBQ", 0x82, 0xFF, len(message)) + bytes(4) + message)


class Watch:
    """Memory and descriptors of a process at every tenth of the work."""

    def __init__(self, pid, total):
        self.pid, self.total, self.next, self.rows, self.began = pid, total, total // 10, [], time.monotonic()

    def at(self, done):
        if done < self.next:
            return
        self.next += self.total // 10
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        memory = int(re.search(r"VmRSS:\s*(\d+)", status)[1]) / 1024
        descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        self.rows.append((memory, descriptors))
        print(f"{done:8} of {self.total}  {memory:8.1f} MiB  {descriptors:4} descriptors  {time.monotonic() - self.began:7.0f} s", flush=True)

    def verdict(self):
        (before, open_before), (after, open_after) = self.rows[1], self.rows[-1]
        grown = after > 1.1 * before or open_after > open_before + 2
        print("grows" if grown else "steady")
        return int(grown)


def serve(options):
    server = subprocess.Popen([CRAFT, "serve", "--checkpoint", options.path, "--port", "0", "--threads", "1"], stdout=subprocess.PIPE, text=True)
    try:
        port = None
        for line in server.stdout:
            found = re.search(r"listening on ws://[^:]+:(\d+)", line)
            if found:
                port = int(found[1])
                break
        if port is None:
            sys.exit("craft serve ended")
        watch, client, chance = Watch(server.pid, options.requests), Client(port), random.Random(0)
        messages = [observation(seed) for seed in range(16)]
        counts = {"actions": 0, "refused": 0, "broken off": 0}
        for number in range(1, options.requests + 1):
            kind = chance.random()
            message = chance.choice(messages)
            if kind < 0.02:  # a message that is none
                client.send(message[:chance.randrange(len(message))])
                client.answer()
                counts["refused"] += 1
            elif kind < 0.03:  # a client that goes in the middle of a message
                client.socket.sendall(b"\x82\xfe\xff\xff" + bytes(4) + message[:100])
                client.socket.close()
                client = Client(port)
                counts["broken off"] += 1
            else:
                client.send(message)
                opcode, payload = client.answer()
                if opcode != 2 or b"actions" not in payload:
                    sys.exit(f"request {number}: {payload[:300]}")
                counts["actions"] += 1
            watch.at(number)
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        return watch.verdict()
    finally:
        server.terminate()
        server.wait()


def train(options):
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        process = subprocess.Popen([
            CRAFT, "train", "--model", options.path, "--plugins", "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual", "--steps", str(options.steps),
            "--batch-size", "1", "--questions", "none", "--threads", "1", "--quiet", "--save-every", str(options.steps // 5), "--out", run,
        ], stdout=subprocess.DEVNULL, env=os.environ | {"CRAFT_ASSETS": str(ROOT / "Assets")})
        watch, done, log = Watch(process.pid, options.steps), 0, None
        while process.poll() is None and done < options.steps:
            time.sleep(0.2)
            if log is None:
                if not (run / "metrics.jsonl").exists():
                    continue
                log = (run / "metrics.jsonl").open()
            done += log.read().count("\n")
            if process.poll() is None:
                watch.at(done)
        if process.wait():
            sys.exit("craft train failed")
        return watch.verdict()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["serve", "train"])
    parser.add_argument("path")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10_000)
    options = parser.parse_args()
    sys.exit(serve(options) if options.what == "serve" else train(options))


if __name__ == "__main__":
    main()
