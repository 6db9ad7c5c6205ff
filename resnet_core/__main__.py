"""`python -m resnet_core …`"""

import sys

from resnet_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
