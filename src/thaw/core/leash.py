"""Run a command that ends when whoever began it does: the standard input here closes then.

    python leash.py COMMAND …

A process that is killed can't end what it began. All of a command is ended: what it began, too.
Ray kills a process with its children, but not theirs: so a child of this one does the work.
"""

import os
import signal
import subprocess
import sys
import threading
import time

PATIENCE = 10  # seconds between asking and killing


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)  # meant for the others of its group
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=watch, daemon=True).start()
    code = command.wait()
    if code < 0:
        os.killpg(0, signal.SIGKILL)  # what a killed command began, and this
    sys.exit(code)


def watch() -> None:
    """End all once the other end of standard input is gone."""
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(PATIENCE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
