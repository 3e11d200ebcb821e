"""`python -m tal_cli` is `tal`."""

import os
import sys

# `python -m` looks into the current folder first, and a user's folder may well hold a package called models.
if sys.path and os.path.abspath(sys.path[0]) != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
    del sys.path[0]

from tal_cli.app import main

main()
