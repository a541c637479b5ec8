"""Files and folders the scripts are given, and how they end over one they can do nothing with."""
import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile


def fail(message):
    """Ends the process as craft does over wrong input: a sentence, exit code 2."""
    print(f"Error: {message}", file=sys.stderr, flush=True)
    sys.exit(2)


def read_object(path, expected, remedy):
    """The JSON object in a file. `expected` says what the file should be."""
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        fail(f"{path}: expected {expected}, cannot read it: {error.strerror}; {remedy}")
    except ValueError as error:
        fail(f"{path}: expected {expected}, found no JSON: {error}; {remedy}")
    if not isinstance(value, dict):
        fail(f"{path}: expected {expected}, found JSON that is not an object; {remedy}")
    return value


def write_json(path, value):
    """By rename: whoever stops the process leaves the old file or the new one."""
    with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=path.name + ".", suffix=".partial", delete=False) as file:
        try:
            file.write(json.dumps(value, indent=2) + "\n")
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def hold(path, remedy):
    """Keeps a file for this process alone until it ends; another that wants it ends with a sentence. Returns the lock."""
    lock = path.parent / f".{path.name or 'results'}.lock"
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(f"{path} is in use by another process that adds to it; wait for it, or {remedy}")
    except OSError as error:
        fail(f"{lock}: cannot be locked: {error.strerror}; {remedy}")
    return descriptor


def make_folder(path, remedy):
    """Makes a folder unless it is there, and tries whether files can be made in it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        # os.path: a pathlib.Path raises where a folder above may not be searched.
        nearest = next(folder for folder in (path, *path.parents) if os.path.exists(folder))
        found = error.strerror if os.path.isdir(nearest) else f"{nearest} is a file"
        fail(f"{path}: expected a folder that files can be written to, found: {found}; {remedy}")


@contextlib.contextmanager
def replacing(folder, remedy):
    """Gives an empty folder to write into, which takes the place of `folder` at the end and is removed on failure."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial, remedy)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except OSError as error:
        fail(f"{folder}: cannot be written: {error}; {remedy}")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
