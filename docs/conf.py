# SPDX-License-Identifier: MIT
"""The documentation as a site: docs/build makes it, with every warning an error."""

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from tutorial_pages import write_tutorial  # noqa: E402

project = "fe_relu"
copyright = "the fe_relu developers"
source = (HERE.parent / "fe_relu" / "__init__.py").read_text()
release = re.search(r'__version__ = "(.*)"', source)[1]

extensions = ["myst_parser"]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"fe_relu {release}"

# Formulas are drawn without the net: KaTeX is copied from Debian's libjs-katex.
KATEX = Path("/usr/share/javascript/katex")
if KATEX.exists():
    shutil.copytree(KATEX, HERE / "static" / "katex", dirs_exist_ok=True)
    html_static_path = ["static"]
    html_css_files = ["katex/katex.css"]
    html_js_files = ["katex/katex.js", "katex/contrib/auto-render.js"]
    mathjax_path = "formulas.js"  # what Sphinx adds to pages with formulas

write_tutorial(HERE.parent / "demos", HERE / "printed", HERE / "tutorial")
