"""``python -m vedette`` is the ``vedette`` command."""

import sys

from vedette.cli import main

if __name__ == "__main__":
    sys.exit(main())
