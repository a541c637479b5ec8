"""The openpi policy protocol, client side: msgpack over WebSocket, numpy arrays packed as openpi-client packs them."""
import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class PolicyError(Exception):
    """The server cannot be reached, answered with an error, or with something that is not an action chunk."""


def pack(value):
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": list(value.shape),
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"cannot pack {type(value).__name__}")


def unpack(value):
    if value.get(b"__ndarray__", value.get("__ndarray__")):
        field = {key.decode() if isinstance(key, bytes) else key: item for key, item in value.items()}
        return np.frombuffer(field["data"], np.dtype(field["dtype"])).reshape(field["shape"])
    if b"__npgeneric__" in value:
        return np.dtype(value[b"dtype"]).type(value[b"data"])
    return value


def encode(message):
    return msgpack.packb(message, default=pack)


def decode(data):
    return msgpack.unpackb(data, object_hook=unpack, strict_map_key=False)


class PolicyClient:
    """- `limit`: seconds that an answer may take."""

    def __init__(self, address, limit=120):
        self.address, self.limit = address, limit
        try:
            # Entered by hand: the connection lasts as long as the client.
            self.socket = connect(
                address, max_size=None, compression=None, proxy=None, ping_interval=None).__enter__()
            self.metadata = self.receive()
        except (OSError, ValueError, ConnectionClosed, TimeoutError) as error:
            raise PolicyError(f"{address}: no policy server answers: {error}") from error

    def receive(self):
        try:
            message = self.socket.recv(timeout=self.limit)
        except ConnectionClosed as error:
            raise PolicyError(f"{self.address}: the policy server closed the connection: {error}") from error
        except TimeoutError as error:
            raise PolicyError(f"{self.address}: the policy server has not answered for {self.limit:g} s") from error
        if isinstance(message, str):
            raise PolicyError(f"{self.address}: the policy server reports: {message.strip()}")
        try:
            return decode(message)
        except Exception as error:  # whatever bytes can do to a decoder
            raise PolicyError(
                f"{self.address}: the answer is not MessagePack of the openpi protocol: {type(error).__name__}: {error}"
            ) from error

    @property
    def identity(self):
        """What tells the served policy from others; None when the server does not say."""
        told = self.metadata.get("checkpoint_id") if isinstance(self.metadata, dict) else None
        return told if isinstance(told, str) and told else None

    def actions(self, image, wrist_image, state, instruction):
        """A chunk of actions [H, 7] in the environment's convention, gripper -1 open, 1 close."""
        observation = {
            "observation/image": image,
            "observation/wrist_image": wrist_image,
            "observation/state": state,
            "prompt": instruction,
        }
        try:
            self.socket.send(encode(observation))
        except (ConnectionClosed, OSError) as error:
            raise PolicyError(f"{self.address}: the policy server closed the connection: {error}") from error
        reply = self.receive()
        if not isinstance(reply, dict) or "actions" not in reply:
            raise PolicyError(f"{self.address}: the reply has no 'actions'")
        try:
            actions = np.asarray(reply["actions"], np.float64)
        except (TypeError, ValueError) as error:
            raise PolicyError(f"{self.address}: 'actions' are not numbers: {error}") from error
        if actions.ndim != 2 or actions.shape[1] != 7 or not len(actions) or not np.isfinite(actions).all():
            raise PolicyError(f"{self.address}: expected finite actions [H, 7], found shape {list(actions.shape)}")
        return actions
