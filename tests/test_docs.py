# SPDX-License-Identifier: MIT
"""The examples in README and docs run as they are, block after block, on any number of ranks."""

import re
from pathlib import Path

import pytest

import fe_relu

ROOT = Path(__file__).parent.parent

#: Pages with examples.
PAGES = ["README.md", "docs/api.md", "docs/parallel.md", "docs/surrogates.md"]


@pytest.mark.parametrize("page", PAGES)
def test_examples_run(comm, page):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert isinstance(names["network"], fe_relu.P1Network)


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", *ROOT.glob("docs/*.md")])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert missing == []
