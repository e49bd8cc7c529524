# SPDX-License-Identifier: MIT
"""Puts what commands print into the pages that quote it: python3 docs/paste_output.py PAGE...

A quotation is a block of text after a comment that names the command:

    <!-- printed by: python3 demos/benchmark_evaluate.py -->
    ```text
    ...
    ```

What a demo prints is taken from docs/printed, where docs/refresh has put it.
"""

import re
import subprocess
import sys
from pathlib import Path

PRINTED = Path(__file__).parent / "printed"

QUOTATION = re.compile(r"(<!-- printed by: (.*?) -->\n```text\n).*?(```)", re.DOTALL)


def pasted(text: str) -> str:
    """The page with every quotation as its command prints it now."""

    def printed(quotation: re.Match) -> str:
        command = quotation[2]
        demo = re.fullmatch(r"python3 demos/demo_(\w+)\.py", command)
        if demo:
            return quotation[1] + (PRINTED / f"{demo[1]}.txt").read_text() + quotation[3]
        print("==", command, flush=True)
        done = subprocess.run(command, shell=True, check=True, text=True, stdout=subprocess.PIPE)
        return quotation[1] + done.stdout + quotation[3]

    return QUOTATION.sub(printed, text)


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        text = page.read_text()
        if (new := pasted(text)) != text:
            page.write_text(new)
