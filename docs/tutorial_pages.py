# SPDX-License-Identifier: MIT
"""Demos as pages: their text and code, then what they print and draw."""

from pathlib import Path

import jupytext

#: Demos in the order of the tutorial, each with what a reader comes for.
DEMOS = {
    "poisson": "solve, convert, evaluate, convert back",
    "gmsh": "a plate with holes, elasticity, and an ONNX file of it",
    "box": "tetrahedra in two hidden layers",
    "heat": "a network in every time step",
    "surrogate": "small networks with a proven error",
    "p1_p2": "quadratic elements as deep networks",
    "optimise": "the best point by mixed-integer programming",
    "materials": "cell tags as a network that tells the material",
    "scattered": "scattered data become a function, and a network",
    "support": "where a function is zero, and which networks know it",
    "finetune": "train further what finite elements began",
    "ritz": "what a trained two-layer network is, and its exact energy",
    "trained": "a trained network as a coefficient, on its own mesh",
}


def write_tutorial(demos: Path, printed: Path, folder: Path) -> None:
    """A page for each demo and one that lists them."""
    folder.mkdir(exist_ok=True)
    for name in DEMOS:
        page = page_of(name, demos, printed)
        (folder / f"{name}.md").write_text(page)
    (folder / "index.md").write_text(index())


def index() -> str:
    entries = "\n".join(DEMOS)
    rows = "\n".join(f"| [{name}]({name}.md) | {what} |" for name, what in DEMOS.items())
    return f"""# Tutorial

Each page is a demo of the repository: a script that runs alone and under `mpirun`, and draws the
picture at the end of the page.

| demo | |
|---|---|
{rows}

```{{toctree}}
:hidden:
:maxdepth: 1

{entries}
```
"""


def page_of(name: str, demos: Path, printed: Path) -> str:
    script = demos / f"demo_{name}.py"
    notebook = jupytext.read(script, fmt="py:light")
    cells = [_markdown(cell) for cell in notebook.cells]
    output = (printed / f"{name}.txt").read_text()
    return f"""{cells[0]}

{chr(10).join(cells[1:])}

## What it prints and draws

```text
$ docker/run python3 demos/demo_{name}.py
{output.rstrip()}
```

![What the demo draws](../pictures/{name}.png)
"""


def _markdown(cell: dict) -> str:
    if cell["cell_type"] == "markdown":
        return cell["source"] + "\n"
    code = cell["source"].removeprefix("# SPDX-License-Identifier: MIT\n")
    return f"```python\n{code}\n```\n"
