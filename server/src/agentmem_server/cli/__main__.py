"""``python -m agentmem_server.cli``."""

import sys

from . import main

sys.exit(main())
