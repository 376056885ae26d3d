"""One part's process: `python -m starter.part workers`, or `starter.web`.

The same as `python -m` with the part's own name, but started in less time: nothing that a module
makes while it loads is ever garbage, and looking for some takes a fifth of a start.
"""

import gc
import sys
from importlib import import_module


def main(part: str) -> int:
    """Load a part, then run it; return its exit code.

    What was loaded stays as long as the process does, so that later looks for garbage, which stop
    all work, pass it by.
    """
    gc.disable()
    run = import_module(f"{part}.__main__").main
    gc.freeze()
    gc.enable()
    return int(run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
