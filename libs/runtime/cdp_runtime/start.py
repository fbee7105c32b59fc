"""The command line -> the program ``cdp``, for a service without what only terminals need."""

import gc
import os
import sys


def main() -> None:
    """Entry point."""
    if sys.argv[1:2] == ["run"]:
        gc.disable()  # what is loaded stays: to look through it again and again takes a tenth of the start
        # structlog and httpx take it along where it is installed: four megabytes of each process that prints nothing
        sys.modules["rich"] = None  # type: ignore[assignment]
        os.environ["TYPER_USE_RICH"] = "0"  # else help and faults of the command line end with a traceback
    from cdp_runtime.cli import main as cdp

    cdp()


if __name__ == "__main__":
    main()
