"""Where the runtime library and the plugins are."""

import functools
import os
from importlib.metadata import entry_points
from pathlib import Path

RUNTIME = "libcraft_runtime.so"


def _candidates():
    """Files that may be the runtime library, the first that exists counts."""
    if given := os.environ.get("CRAFT_RUNTIME"):
        path = Path(given)
        yield path / RUNTIME if path.is_dir() else path
        return
    # A checkout: the build folder beside the sources.
    for folder in Path(__file__).resolve().parents:
        if (folder / "Package.swift").is_file():
            yield folder / ".build" / "release" / RUNTIME


@functools.cache
def runtime_library() -> Path:
    """The runtime library: CRAFT_RUNTIME (a file or its folder), or the build folder of the checkout that this file is in."""
    tried = list(_candidates())
    for path in tried:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{RUNTIME} is not there; looked for {', '.join(map(str, tried)) or 'a checkout around this package'}. Build it with "
        f"'swift build -c release', or name it in CRAFT_RUNTIME"
    )


def plugin_folders() -> list[str]:
    """Folders in which plugins are looked up by name, in order.

    Those of CRAFT_PLUGIN_PATH (separated by colons), those that installed packages name under the entry-point group
    ``craft.plugins`` (a text, or a package whose folder holds the files), and the folder of the runtime library.
    """
    folders = [f for f in os.environ.get("CRAFT_PLUGIN_PATH", "").split(":") if f]
    for point in entry_points(group="craft.plugins"):
        value = point.load()
        folders += [str(value)] if isinstance(value, (str, os.PathLike)) else list(value.__path__)
    return folders + [str(runtime_library().parent)]
