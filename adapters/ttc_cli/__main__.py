"""`python -m ttc_cli`, where the command is not on the path."""

import sys

from ._main import main

sys.exit(main())
