"""ResNet Lab in the browser: `python app.py`, then open the address it prints."""

import os
import sys

from demo.server import main

if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # What must be saved is saved; Python's own way out aborts (SIGABRT) while torch still works in a daemon thread.
    os._exit(code)
