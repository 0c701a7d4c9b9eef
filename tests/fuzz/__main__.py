"""python -m tests.fuzz [COUNT] [SEED]: calls from the OpenAPI documents, none of which may get a 5xx."""

import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.calls import fuzz


def main(count=20_000, seed=1):
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = fuzz(Path(folder), count=count, seed=seed)
    say = sys.stdout.write
    for defect in tally.defects[:50]:
        say(f"{defect}\n")
    if tally.refusals:
        told = ", ".join(f"{name.strip()}: {n}" for name, n in sorted(tally.refusals.items()))
        say(f"503, as the model's name asked for: {told}\n")
    statuses = ", ".join(f"{status}: {n}" for status, n in sorted(tally.statuses.items(), key=str))
    seconds = time.monotonic() - started
    say(
        f"seed {seed}: {tally.calls} calls to {len(tally.routes)} operations in {seconds:.0f} s; "
        f"{statuses}; {len(tally.defects)} defects\n"
    )
    return bool(tally.defects)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
