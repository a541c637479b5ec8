"""Writes Tests/Fixtures/formats/reference.json: checksums, hashes, random numbers and JSON as others compute them.

    pip install google-crc32c
    python scripts/reference/formats_reference.py

SHA-256 is hashlib's, CRC-32C google-crc32c's, JSON the json module's. SplitMix64 and FNV-1a follow their papers, in Python's
unbounded integers.
"""
import hashlib
import json
import pathlib
import struct

import google_crc32c

ROOT = pathlib.Path(__file__).resolve().parents[2]
MASK = (1 << 64) - 1
TEXTS = ["", "a", "put both the alexandrite mug and the bowl on the plate", "naïve 🦾 \n\t", "\x01\b\f\x7f\u2028\"\\", "x" * 200]
# What both read. Numbers are compared exactly.
JSON = [
    "null", "true", " [ ] ", "{}", "-0", "0.1", "1e3", "-2.5E-7", "12345678901234567890", "5e-324",
    '"\\u0061\\ud83e\\uddbe\\n\\/\\b\\f\\r\\t\\"\\\\"', '"\u00e9 e\u0301"', '[1,[2,[3]],{"a":null,"a":false}]',
    '{"k\\u0065y" : [ 1 , "two" ]\n}\n',
]
# What both refuse.
REFUSED = [
    "", "[1,]", "{,}", '{"a":1,}', '{"a" 1}', "{a:1}", '"open', '"\\x"', '"\\u12g4"', "tru", "[1] 2", '"\t"', "[", "]", "--1",
    "[1 2]", "'a'",
]
NEAR = [("libero_gaol", ["libero_goal", "libero_10", "libero_spatial"]), ("ab", ["ba", "abcd", "xy"]), ("", ["q", "rs"])]


def mixed(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def keyed(start, keys):
    for key in keys:
        start = mixed((start + 0x9E3779B97F4A7C15) & MASK) ^ key
    return start


def draws(state, count):
    out = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        out.append(str(mixed(state)))
    return out


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return str(value)


def masked(data):
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data):
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def tree(value):
    """A value as a list that says its kind; strings as their UTF-8, numbers as their bits."""
    if value is None or isinstance(value, bool):
        return [json.dumps(value)]
    if isinstance(value, (int, float)):
        return ["number", struct.pack(">d", float(value)).hex()]
    if isinstance(value, str):
        return ["string", value.encode().hex()]
    if isinstance(value, Members):
        return ["object"] + [part for key, inner in value.pairs for part in (["string", key.encode().hex()], tree(inner))]
    return ["array"] + [tree(inner) for inner in value]


class Members:
    def __init__(self, pairs):
        self.pairs = pairs


def flat(node):
    return [part for inner in node for part in (flat(inner) if isinstance(inner, list) else [inner])] + ["."]


def read(text):
    # Integers as the doubles they are read as: 12345678901234567890 has no other form here.
    return json.loads(text, object_pairs_hook=Members)


def negative_zero(text):
    return text.strip() == "-0"


def refuses(text):
    try:
        json.loads(text)
    except ValueError:
        return True
    return False


def distance(a, b):
    """Changes, insertions, deletions and swaps of neighbours, no substring edited twice."""
    d = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i][j] = min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1)
    return d[len(a)][len(b)]


def main():
    assert all(refuses(text) for text in REFUSED)
    large = bytes(i * i % 251 for i in range(3_000_001))
    generator = keyed(7, [1, MASK])
    reference = {
        "texts": [
            {"text": text, "sha256": hashlib.sha256(text.encode()).hexdigest(), "fnv": fnv(text.encode()),
             "masked_crc32c": masked(text.encode()), "record": framed(text.encode()).hex(), "quoted": json.dumps(text, ensure_ascii=False)}
            for text in TEXTS
        ],
        "large_sha256": hashlib.sha256(large).hexdigest(),
        "generator": draws(mixed((generator + 0x9E3779B97F4A7C15) & MASK), 4),
        "stream": draws(keyed(0, [7, 1, MASK]), 4),
        "json": [
            {"text": text, "tree": flat(["number", struct.pack(">d", -0.0).hex()] if negative_zero(text) else tree(read(text)))}
            for text in JSON
        ],
        "refused": REFUSED,
        "nearest": [
            {"word": word, "candidates": names, "closest": min(names, key=lambda name: distance(word, name))}
            for word, names in NEAR
        ],
    }
    path = ROOT / "Tests/Fixtures/formats/reference.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(reference, indent=1) + "\n")


main()
