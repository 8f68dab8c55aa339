"""`python -m benchmarks.gateway`."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from benchmarks.gateway.effort import FULL, QUICK
from benchmarks.gateway.run import run


def main() -> None:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within a minute, and rough")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write all figures there")
    options = parser.parse_args()
    report, table = asyncio.run(run(QUICK if options.quick else FULL, lambda line: print(line, file=sys.stderr)))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(table)


if __name__ == "__main__":
    main()
