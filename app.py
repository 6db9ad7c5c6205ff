"""ResNet Lab in the browser: `python app.py`, then open the address it prints."""

import sys

from demo.server import main

if __name__ == "__main__":
    sys.exit(main())
