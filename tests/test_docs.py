# SPDX-License-Identifier: MIT
"""The examples in README and docs run as they are, block after block, on any number of ranks."""

import re
from pathlib import Path

import pytest

import fe_relu

ROOT = Path(__file__).parent.parent

#: Pages whose examples are one script each.
PAGES = [
    page.relative_to(ROOT)
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
    if "```python" in page.read_text()
]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_examples_run(comm, page, tmp_path, monkeypatch):
    monkeypatch.chdir(comm.bcast(tmp_path))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    assert names["fe_relu"] is fe_relu


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", *ROOT.glob("docs/*.md")])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    # The tutorial's pages are made from demos by docs/build, which follows links to them itself.
    links = re.findall(r"\]\((?!https?:|#|tutorial/)([^)#]+)", text)
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert missing == []
