"""TFRecord framing and tf.train.Example, read and written without TensorFlow.

Whole records in memory, and raw access to map entries so that a feature can be copied byte for byte. The recorder uses
it, and the scripts that convert data sets and cut samples.
"""
import struct

_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = (_byte >> 1) ^ (0x82F63B78 if _byte & 1 else 0)
    _TABLE.append(_byte)


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    table = _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


try:  # A hundred times faster where it is installed.
    from google_crc32c import value as _crc32c
except ImportError:
    pass


def masked_crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and offset as TFRecord stores it."""
    crc = _crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(path):
    """Yields each record's payload. Lengths are checked against the file, checksums are not."""
    with open(path, "rb") as file:
        while header := file.read(12):
            (length,) = struct.unpack("<Q", header[:8])
            payload = file.read(length)
            if len(header) != 12 or len(payload) != length or len(file.read(4)) != 4:
                raise ValueError(f"{path}: truncated record")
            yield payload


def write_records(path, payloads):
    with open(path, "wb") as file:
        for payload in payloads:
            length = struct.pack("<Q", len(payload))
            file.write(length + struct.pack("<I", masked_crc32c(length)))
            file.write(payload + struct.pack("<I", masked_crc32c(payload)))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, data: bytes) -> bytes:
    """One length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data: bytes):
    """Yields (number, bytes) of each length-delimited field of a message that has no other kind."""
    position = 0

    def read_varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(data):
        tag = read_varint()
        if tag & 7 != 2:
            raise ValueError(f"unexpected wire type {tag & 7}")
        length = read_varint()
        yield tag >> 3, data[position : position + length]
        position += length


def example_entries(payload: bytes):
    """The (key, Feature bytes) pairs of a tf.train.Example, in stored order."""
    for _, features in fields(payload):
        for _, entry in fields(features):
            parts = dict(fields(entry))
            yield parts[1].decode(), parts[2]


def example(entries) -> bytes:
    """A tf.train.Example from (key, Feature bytes) pairs."""
    body = b"".join(field(1, field(1, key.encode()) + field(2, feature)) for key, feature in entries)
    return field(1, body)


def bytes_feature(values) -> bytes:
    return field(1, b"".join(field(1, value) for value in values))


def float_feature(values) -> bytes:
    """Numbers of any shape, flattened, as float32."""
    import numpy as np  # only here: the framing needs none

    return field(2, field(1, np.asarray(values, "<f4").tobytes()))


def int_feature(values) -> bytes:
    return field(3, field(1, b"".join(varint(int(value)) for value in values)))


def bytes_values(feature: bytes):
    return [value for _, kind in fields(feature) for _, value in fields(kind)]
