"""Ends this process with the one that started it, when that one is craft."""
import os
import signal
import sys
import threading


def watch():
    """craft's end of standard input closes however craft ends. Raises SIGTERM in this process then."""
    if os.environ.get("CRAFT_ENDS_WITH_PARENT") != "1":
        return

    def wait():
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
