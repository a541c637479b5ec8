"""The conversation between a training step and its plugins, by ctypes over libcraft_runtime.so (craft_runtime.h).

The rules of the conversation are the library's; nothing here knows them. A `Session` is used by one thread at a time.
"""

import ctypes as C
import functools
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from craft import locations

_LEAST_VERSION = 2
_ABSENT = 2
SCOPES = ("tensor", "layer", "module", "global")


class CraftError(RuntimeError):
    """Why something was refused or failed, in a sentence."""


class _Array(C.Structure):
    """craft_array."""

    _fields_ = [
        ("data", C.c_void_p),
        ("device_type", C.c_int32),
        ("device_id", C.c_int32),
        ("ndim", C.c_int32),
        ("type_code", C.c_uint8),
        ("type_bits", C.c_uint8),
        ("type_lanes", C.c_uint16),
        ("shape", C.POINTER(C.c_int64)),
        ("strides", C.POINTER(C.c_int64)),
        ("byte_offset", C.c_uint64),
        ("flags", C.c_uint64),
    ]


class _BlockTable(C.Structure):
    """craft_runtime_block_table."""

    _fields_ = [
        ("struct_size", C.c_uint32),
        ("reserved", C.c_uint32),
        ("count", C.c_int64),
        ("names", C.POINTER(C.c_char_p)),
        ("numel", C.c_void_p),
        ("group", C.c_void_p),
        ("layer", C.c_void_p),
        ("kind", C.c_void_p),
        ("shape", C.c_void_p),
    ]


class _Gradients(C.Structure):
    """craft_runtime_gradients."""

    _fields_ = [
        ("struct_size", C.c_uint32),
        ("reserved", C.c_uint32),
        ("blocks", C.c_int64),
        ("rows", C.c_int64),
        ("gram", C.c_void_p),
        ("coordinates", C.c_int64),
        ("grads", C.POINTER(_Array)),
        ("gram_cross", C.c_void_p),
    ]


_CPU, _INT, _FLOAT = 1, 0, 2
_CODES = {np.dtype(np.int64): _INT, np.dtype(np.float32): _FLOAT, np.dtype(np.float64): _FLOAT}


def _view(array: np.ndarray) -> _Array:
    shape = (C.c_int64 * max(array.ndim, 1))(*array.shape)
    view = _Array(array.ctypes.data, _CPU, 0, array.ndim, _CODES[array.dtype], array.itemsize * 8, 1, shape)
    view.keep = (array, shape)  # ctypes keeps what its fields point at only while this object lives
    return view


@functools.cache
def _library() -> C.CDLL:
    path = locations.runtime_library()
    library = C.CDLL(str(path))
    session, handle, text, number = C.c_void_p, C.c_int32, C.c_char_p, C.c_int64
    signatures = {
        "error": (text,),
        "version": (C.c_uint32,),
        "report_crashes": (None,),
        "open": (session, text, text, text),
        "get_f64": (C.c_int32, session, handle, C.POINTER(C.c_double)),
        "set_f64": (C.c_int32, session, handle, C.c_double),
        "set_i64": (C.c_int32, session, handle, number),
        "set_array": (C.c_int32, session, handle, C.POINTER(_Array)),
        "begin": (C.c_int32, session, number, C.c_double),
        "fact": (C.c_int32, session, text, number),
        "combine": (C.c_int32, session, C.POINTER(_Gradients), C.c_void_p, number),
        "evaluate": (C.c_int32, session, number, C.c_void_p, C.c_void_p, number, C.c_void_p),
        "end": (C.c_int32, session, number, C.c_void_p, C.c_void_p, number),
        "losses": (C.c_int32, session, C.c_void_p, C.c_void_p, number),
        "multipliers": (C.c_int32, session, C.c_void_p, number),
        "load": (C.c_int32, session, text, C.c_uint64),
        "gram": (C.c_int32, C.c_void_p, number, C.c_void_p, number, C.c_void_p),
        "weighted_sum": (C.c_int32, C.c_void_p, number, C.c_void_p, number, C.c_void_p, C.c_void_p),
    }
    for name, (result, *arguments) in signatures.items():
        function = getattr(library, f"craft_runtime_{name}", None)
        if function is None:
            raise CraftError(f"{path} is older than this package: it has no craft_runtime_{name}; build or install it anew")
        function.restype, function.argtypes = result, arguments
    if (version := library.craft_runtime_version()) < _LEAST_VERSION:
        raise CraftError(f"{path} has version {version}; this package needs {_LEAST_VERSION}: build or install it anew")
    library.craft_runtime_report_crashes()
    return library


def _call(name: str, *arguments) -> int:
    """Calls a function of the library; returns its status, and raises what it says when it failed."""
    library = _library()
    status = getattr(library, f"craft_runtime_{name}")(*arguments)
    if status not in (0, _ABSENT):
        raise CraftError(library.craft_runtime_error().decode())
    return status


def _texts(values: Sequence[str]):
    return (C.c_char_p * max(len(values), 1))(*[v.encode() for v in values])


def _addresses(pointers: Sequence[int]):
    return (C.c_void_p * len(pointers))(*pointers)


def gram(rows: Sequence[int], offsets: np.ndarray) -> np.ndarray:
    """[k, m, m]: inner products in float64 of m float32 rows at these addresses, in the blocks between `offsets` [k + 1]."""
    m, k = len(rows), len(offsets) - 1
    out = np.empty((k, m, m))
    _call("gram", _addresses(rows), m, offsets.ctypes.data, k, out.ctypes.data)
    return out


def weighted_sum(rows: Sequence[int], offsets: np.ndarray, weights: np.ndarray, out: int) -> None:
    """Writes sum_i weights[b][i] rows[i] to the address `out`, which may be a row's. `weights` is [k, m]."""
    weights = np.ascontiguousarray(weights, np.float64)
    _call("weighted_sum", _addresses(rows), len(rows), offsets.ctypes.data, len(offsets) - 1, weights.ctypes.data, out)


class Session:
    """A list of plugins and a run's conversation with them.

    plugins: as ``--plugins`` of craft takes it. objectives: those whose losses the caller computes; the plugins' own follow.
    folders: where plugins are looked up by name; None: `craft.locations.plugin_folders`.
    """

    def __init__(self, plugins: str, objectives: Iterable[str] = (), folders: Sequence[str] | None = None):
        folders = locations.plugin_folders() if folders is None else folders
        self._session = None
        pointer = _library().craft_runtime_open(plugins.encode(), ":".join(folders).encode(), ",".join(objectives).encode())
        if not pointer:
            raise CraftError(_library().craft_runtime_error().decode())
        self._session = C.c_void_p(pointer)
        self._handles: dict[str, int] = {}
        self._lent: dict[str, _Array] = {}
        self.objectives: list[str] = self.describe()["objectives"]

    def close(self) -> None:
        """Ends the session; a second time does nothing."""
        session, self._session = self._session, None
        if session:
            _call("close", session)

    def __del__(self):
        # At the end of the process the module's names may be gone already.
        if getattr(self, "_session", None) and _call is not None:
            self.close()

    def _call(self, name: str, *arguments) -> int:
        return _call(name, self._session, *arguments)

    def _json(self, name: str, *arguments):
        text = C.c_char_p()
        self._call(name, *arguments, C.byref(text))
        return json.loads(text.value)

    def describe(self) -> dict:
        """objectives, plan, host, decisions and blocks: see craft_runtime_describe."""
        return self._json("describe")

    # Before the first step

    def fact(self, name: str, value: int) -> None:
        self._call("fact", name.encode(), value)

    def blocks(
        self, scope: str, numel: Sequence[int], names: Sequence[str] | None = None, layers: Sequence[int] | None = None
    ) -> None:
        """Who the blocks are for one of `SCOPES`."""
        table = _BlockTable(C.sizeof(_BlockTable), 0, len(numel))
        sizes = np.asarray(numel, np.int64)
        table.numel = sizes.ctypes.data
        texts = None if names is None else _texts(names)
        if texts is not None:
            table.names = texts
        places = None if layers is None else np.asarray(layers, np.int64)
        if places is not None:
            table.layer = places.ctypes.data
        self._call("blocks", SCOPES.index(scope), C.byref(table))

    def absent(self, name: str, reason: str) -> None:
        self._call("absent", name.encode(), reason.encode())

    def plan(self) -> None:
        self._call("plan")

    # Values

    def _handle(self, name: str) -> int:
        if name not in self._handles:
            handle = C.c_int32()
            self._call("name", name.encode(), C.byref(handle))
            self._handles[name] = handle.value
        return self._handles[name]

    def set(self, name: str, value: float | int | np.ndarray | None) -> None:
        """Gives a value. An array has to stay unchanged until the step ends; None: it is absent on purpose."""
        handle = self._handle(name)
        if value is None:
            self._call("set_array", handle, None)
        elif isinstance(value, np.ndarray):
            if value.dtype not in _CODES:
                raise CraftError(f"'{name}' is an array of {value.dtype}; expected float32, float64 or int64")
            view = _view(np.ascontiguousarray(value))
            self._call("set_array", handle, C.byref(view))
            self._lent[name] = view
        elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            self._call("set_i64", handle, int(value))
        else:
            self._call("set_f64", handle, float(value))

    def number(self, name: str) -> float | None:
        """A number that plugins gave or the session keeps; None: there is none at the moment."""
        value = C.c_double()
        return None if self._call("get_f64", self._handle(name), C.byref(value)) == _ABSENT else value.value

    def array(self, name: str) -> np.ndarray | None:
        """The same for an array, copied."""
        view = _Array()
        if self._call("get_array", self._handle(name), C.byref(view)) == _ABSENT:
            return None
        shape = tuple(view.shape[: view.ndim])
        kind = {(_INT, 64): np.int64, (_FLOAT, 32): np.float32, (_FLOAT, 64): np.float64}[view.type_code, view.type_bits]
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
        data = C.string_at(view.data + view.byte_offset, size) if size else b""
        return np.frombuffer(data, kind).reshape(shape).copy()

    # A step

    def begin(self, step: int, rate: float) -> None:
        self._call("begin", step, rate)

    def micro_batch(self) -> None:
        self._call("micro_batch")

    def close_batch(self) -> list[int]:
        """Rows of the objectives that take part in the step."""
        rows, count = (C.c_int64 * max(len(self.objectives), 1))(), C.c_int64()
        self._call("close_batch", rows, C.byref(count))
        return list(rows[: count.value])

    def losses(self, values: Sequence[float | None]) -> None:
        """Every objective's loss, by row; None: it takes no part. In place of micro-batches."""
        losses = np.array([0.0 if v is None else v for v in values])
        present = np.array([v is not None for v in values], np.uint8)
        self._call("losses", losses.ctypes.data, present.ctypes.data, len(values))

    def combine(self, gram: np.ndarray, coordinates: int = 0, grads: np.ndarray | None = None) -> np.ndarray:
        """[k, m]: the factor of each gradient in each block, for their inner products [k, m, m].

        grads: f32 [m, n], for plugins that read them; ``array("combined")`` is then the gradient that one gave, if any.
        """
        gram = np.ascontiguousarray(gram, np.float64)
        if gram.ndim != 3 or gram.shape[1] != gram.shape[2]:
            raise CraftError(f"the Gram matrices have shape {gram.shape}; expected [k, m, m]")
        k, m, _ = gram.shape
        weights = np.empty((k, m))
        table = _Gradients(C.sizeof(_Gradients), 0, k, m, gram.ctypes.data, coordinates)
        view = None if grads is None else _view(np.ascontiguousarray(grads, np.float32))
        if view is not None:
            table.grads = C.pointer(view)
        self._call("combine", C.byref(table), weights.ctypes.data, weights.size)
        return weights

    def finish(self) -> dict[str, float]:
        """Ends the step; returns its metrics by name."""
        self._call("finish")
        self._lent.clear()
        return self._json("metrics")

    def abandon(self) -> None:
        """Ends a step of which nothing comes."""
        self._call("abandon")
        self._lent.clear()

    def multipliers(self) -> dict[str, float]:
        """What the next step multiplies each objective with."""
        values = np.empty(len(self.objectives))
        self._call("multipliers", values.ctypes.data, len(values))
        return dict(zip(self.objectives, values.tolist()))

    # Around the steps

    def evaluate(self, steps: int, measures: Mapping[str, float]) -> dict[str, float]:
        """Tells evaluate hooks what was measured after `steps` steps; returns their metrics. `stop` says whether to go on."""
        values = np.array(list(measures.values()), np.float64)
        return self._json("evaluate", steps, _texts(list(measures)), values.ctypes.data, len(values))

    def end(self, steps: int, measures: Mapping[str, float]) -> None:
        """Tells finish hooks that `steps` steps were the last."""
        values = np.array(list(measures.values()), np.float64)
        self._call("end", steps, _texts(list(measures)), values.ctypes.data, len(values))

    def stop(self) -> str | None:
        """Why the run is to end; None: it goes on."""
        text = C.c_char_p()
        return None if self._call("stop", C.byref(text)) == _ABSENT else text.value.decode()

    # State

    def save(self) -> bytes:
        """All that goes on from step to step; equal states give equal bytes."""
        data, size = C.c_void_p(), C.c_uint64()
        self._call("save", C.byref(data), C.byref(size))
        return C.string_at(data, size.value)

    def load(self, state: bytes) -> None:
        self._call("load", state, len(state))
