"""Entry point: `python3 -m lvpack_agent [--cmdline WORDS]`; started by init, it reads /proc/cmdline."""

import sys

from lvpack_agent.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
