# SPDX-License-Identifier: MIT
"""The command line as a user types it: what it prints, writes, refuses, and leaves behind."""

import itertools
import os
import re
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem

import fe_relu
from cases import DIAGONALS, evaluated, points_in_cells, random_function, rectangle
from fe_relu.cli import evaluation, points
from fe_relu.cli import main as cli
from fe_relu.formats import replacing
from fe_relu.hierarchy.transform import hierarchical_from_network
from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid
from fe_relu.sizes.explicit import explicit_size

TESTS = Path(__file__).parent
FE_RELU = (sys.executable, "-m", "fe_relu")
MPIRUN = ("mpirun", "-n", "2", "--oversubscribe")

#: What says that a process is a rank; and the little of it that says how to start ranks at all.
RANK_PREFIXES = ("OMPI_", "PMI", "MPI_", "MV2_")
KEPT = (
    "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_btl",
    "OMPI_MCA_mpi_yield_when_idle",
)  # fmt: skip

# Of protobuf and pyparsing, which onnx and matplotlib import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

EVAL = ("eval", "u.safetensors")

#: What writes a file of each kind, before its name.
WRITING = {
    ".npy": (*EVAL, "u.csv", "-o"),
    ".csv": (*EVAL, "u.csv", "-o"),
    ".safetensors": ("convert", "u.safetensors"),
    ".onnx": ("convert", "u.safetensors"),
    ".png": ("plot", "u.safetensors", "-o"),
}


def serial_environment():
    known = os.environ.items()
    return {name: v for name, v in known if name in KEPT or not name.startswith(RANK_PREFIXES)}


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """In a folder of its own, and not as a rank of anything."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - serial_environment().keys():
        monkeypatch.delenv(name)


def typed(*words, start=FE_RELU, stdout=subprocess.PIPE, **variables):
    """What a command does that is typed into a shell."""
    return subprocess.run(
        [*start, *map(str, words)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=90,
        env=serial_environment() | {"PYTHONPATH": str(TESTS.parent)} | variables,
    )


def called(capsys, *words):
    """The same in this process: exit code, standard output, standard error."""
    code = cli.main([str(word) for word in words])
    return code, *capsys.readouterr()


def done(capsys, *words):
    """What is printed by a command that succeeds."""
    code, out, err = called(capsys, *words)
    assert (code, err) == (0, "")
    return out


def refused(capsys, *words):
    """The one line of an error, after its prefix; nothing was printed or written."""
    before = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    code, out, err = called(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("fe-relu: error: ")
    assert {p.name: p.read_bytes() for p in Path().iterdir() if p.is_file()} == before
    return err.removeprefix("fe-relu: error: ").strip()


def saved(name="u", shape=(8, 8), diagonal="right", components=(), dtype=np.float64, **named):
    """A file with a network whose nodal values are random, and that network."""
    grid = fe_relu.Grid((-1.0, 0.5), np.diag([0.25, 0.125]), shape, diagonal)
    values = np.random.default_rng(5).standard_normal((*components, grid.num_vertices))
    network = fe_relu.P1Network(grid, values.astype(dtype))
    fe_relu.save(network, f"{name}.safetensors", **named)
    return network


def random_points(count, columns=2):
    return np.random.default_rng(6).uniform(-2, 2, (count, columns))


#: The command line in unusual circumstances: an interrupt when a module is imported or values are
#: written, no optional packages, a second of two ranks that alone fails, a late first rank, a
#: process that the first of two ranks starts.
STAGED = f"""
import os, signal, subprocess, sys, time
scene, *words = sys.argv[1:]
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == scene:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
if scene == "blocked":
    sys.path.insert(0, {str(TESTS)!r})
    import bare
    sys.meta_path.insert(0, bare.Blocked())
from fe_relu.cli import main
from fe_relu.parallel import launched
if scene == "writing":
    from fe_relu.cli import evaluation
    evaluation._write = lambda *_: os.kill(os.getpid(), signal.SIGINT)
if scene == "uneven":
    from fe_relu.cli import commands
    told = "known to one rank"
    commands.evaluate = lambda given, comm: int(told) if comm.rank else comm.barrier()
if scene == "late":
    time.sleep(0.5 * launched.is_first())
if scene == "child":
    from mpi4py import MPI
    shell = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-m", "fe_relu", *words]
    first = MPI.COMM_WORLD.rank == 0
    code = subprocess.run(shell, timeout=60).returncode if first else 0
    MPI.COMM_WORLD.barrier()
    sys.exit(code)
sys.exit(main.main(words))
"""


def staged(scene):
    return (sys.executable, "-c", STAGED, scene)


# Programs


def test_help_version_and_where_errors_come_from(capsys):
    text = done(capsys, "--help")
    for command in ("info", "convert", "eval", "compress", "plot"):
        assert f"\n    {command} " in text
        assert f"example:\n  fe-relu {command} " in done(capsys, command, "--help")
    assert done(capsys, "--version") == f"fe-relu {fe_relu.__version__}\n"
    code, out, err = called(capsys, "info", "none.safetensors", "--debug")
    assert (code, out) == (2, "")
    assert err.startswith("Traceback")
    assert err.endswith("\nfe-relu: error: none.safetensors: no such file\n")


@pytest.mark.parametrize("words", ["--help", "info u.safetensors"])
def test_output_that_nobody_gets(words):
    saved()
    read, write = os.pipe()
    os.close(read)
    ended = typed(*words.split(), stdout=write)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")
    with open("/dev/full", "w") as full:
        ended = typed(*words.split(), stdout=full)
    assert ended.returncode == 2
    assert ended.stderr == "fe-relu: error: standard output: No space left on device\n"
    ended = typed(*words.split(), start=("sh", "-c", '"$@" >&-', "sh", *FE_RELU))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


NASTY = "\x1b[1;31mred\x1b[0m\n\x07\u202e\tT"


def test_names_cannot_move_the_terminal(capsys):
    assert refused(capsys, "info", f"{NASTY}.onnx") == "red T.onnx: no such file"
    saved(NASTY, names=[NASTY], units=["°C"])
    out = done(capsys, "info", f"{NASTY}.safetensors")
    assert out.startswith("file       red T.safetensors, ")
    assert "1: red T [°C]\n" in out
    assert out.replace("\n", "").isprintable()
    Path("p.csv").write_text("x,y\n0,1\n")
    assert done(capsys, "eval", f"{NASTY}.safetensors", "p.csv", "-o", "v.csv") == ""
    assert Path("v.csv").read_text().startswith("red T\n")
    ended = typed("info", f"{NASTY}.safetensors", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "red T [\\xb0C]\n" in ended.stdout


@pytest.mark.parametrize("suffix", WRITING)
def test_files_that_cannot_be_written_are_named(capsys, monkeypatch, suffix):
    saved()
    Path("u.csv").write_text("0,1\n" * 1000)
    longest = "n" * (255 - len(suffix)) + suffix
    assert done(capsys, *WRITING[suffix], longest) == ""
    assert "File name too long" in refused(capsys, *WRITING[suffix], "n" + longest)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # as good as a full disk
        told = refused(capsys, *WRITING[suffix], longest)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told == f"{os.path.realpath(longest)}: File too large"

    def denied(*_, **options):
        raise PermissionError(13, "Permission denied", "tmp1234")

    monkeypatch.setattr(evaluation.tempfile, "TemporaryFile", denied)
    monkeypatch.setattr(replacing, "open", denied, raising=False)
    told = refused(capsys, *WRITING[suffix], longest)
    assert told == f"{os.path.realpath(longest)}: Permission denied"


@pytest.mark.parametrize(
    ("moment", "suffix"),
    [("fe_relu.cli.commands", ".npy"), ("onnx", ".onnx"), ("writing", ".npy")],
)
def test_interrupt_is_quiet_and_leaves_the_old_file(moment, suffix):
    saved()
    for name in ("u.csv", f"v{suffix}"):
        Path(name).write_text("0,1\n")
    before = sorted(os.listdir())
    ended = typed(*WRITING[suffix], f"v{suffix}", start=staged(moment))
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
    assert Path(f"v{suffix}").read_text() == "0,1\n"
    assert sorted(os.listdir()) == before


def test_without_optional_packages():
    network = saved()
    np.savetxt("u.csv", random_points(50))
    ended = typed(*EVAL, "u.csv", "-o", "v.npy", start=staged("blocked"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (np.load("v.npy") == network(np.loadtxt("u.csv").T)).all()
    os.mkdir("u.bp")
    for words, package in (
        (("convert", "u.safetensors", "u.onnx"), "python3-onnx"),
        (("plot", "u.safetensors", "-o", "u.png"), "python3-matplotlib"),
        (("convert", "u.bp", "v.safetensors"), "python3-dolfinx"),
    ):
        ended = typed(*words, start=staged("blocked"))
        assert (ended.returncode, ended.stdout) == (2, "")
        assert re.search(f"(pip|conda) install .* apt install {package}\n$", ended.stderr)


def test_page_shows_what_commands_print(capsys):
    page = (TESTS.parent / "docs" / "cli.md").read_text()
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1), {})
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for part in block.split("$ ")[1:]:
            line, _, output = part.partition("\n")
            program, *words = line.split()
            if program == "cat":
                assert Path(words[0]).read_text() == output
            else:
                _, out, err = called(capsys, *words)
                assert (program, out + err) == ("fe-relu", output), line


# info


def rows_of(capsys, *words):
    """What a command prints, as names and texts; rows of one name together."""
    rows = {}
    for line in done(capsys, *words).splitlines():
        name, text = line.split("  ", 1)
        rows.setdefault(name, []).append(text.strip())
    return {name: "; ".join(texts) for name, texts in rows.items()}


def same_size(network):
    """Whether the size that is told is that of the layers."""
    layers, size = network.explicit(), explicit_size(network)
    return (size.hidden, size.nonzeros) == (layers.widths[1:-1], layers.num_nonzeros)


def test_info_of_a_named_network(capsys):
    network = saved("t", components=(2,), names=["T", "p"], units=["K", "Pa"])
    rows, layers = rows_of(capsys, "info", "t.safetensors"), network.explicit()
    assert rows["kind"] == "P1 function"
    assert rows["grid"] == "8 x 8 cells, right, 81 vertices"
    assert rows["domain"] == "[-1, 1] x [0.5, 1.5]"
    assert rows["outputs"] == "2: T [K], p [Pa]"
    assert rows["neurons"] == f"{layers.num_neurons} = {layers.widths[1]} + {layers.widths[2]}"
    assert rows["non-zeros"] == str(layers.num_nonzeros)
    ends = zip("Tp", network.values.min(axis=1), network.values.max(axis=1), strict=True)
    assert rows["bounds"] == "; ".join(f"{name} from {a:.6g} to {b:.6g}" for name, a, b in ends)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_size_is_that_of_the_layers_which_are_not_made(diagonal, monkeypatch, capsys):
    for shape in ((1, 1), (1, 2), (2, 1), (3, 5), (4, 4), (9, 8)):
        for axes in (np.diag([0.3, 0.2]), [[0.1, 0.02], [0, 0.1]]):
            grid = fe_relu.Grid((0.1, 3.0), axes, shape, diagonal)
            values = np.arange(2 * grid.num_vertices, dtype=float).reshape(2, -1)
            assert same_size(fe_relu.P1Network(grid, values))
    grid = saved(shape=(300, 200), diagonal=diagonal).mesh
    monkeypatch.setattr(fe_relu.P1Network, "explicit", None)
    assert f" {grid.num_vertices} vert" in rows_of(capsys, "info", "u.safetensors")["grid"]


def test_info_of_a_small_surrogate_of_a_huge_mesh(capsys):
    small, huge = (
        fe_relu.Surrogate(
            fe_relu.Grid((0, 0), np.eye(2), (nx, 2), "right"),
            1, [0, 1, nx], np.arange(1.0, 4.0), (2, 1), 0.5, 0.75, 1.0, 3.0,
        )
        for nx in (8, 2**40)
    )  # fmt: skip
    assert same_size(small)
    fe_relu.save(huge, "u.safetensors")
    rows = rows_of(capsys, "info", "u.safetensors")
    assert rows["grid"].startswith(f"{2**40} x 2 cells")
    assert rows["bounds"] == "nowhere larger than 3 in magnitude"


def test_parts_of_complex_functions_and_quadrilaterals_are_named(capsys):
    grid = fe_relu.Grid((0, 0), np.eye(2), (2, 1), "right")
    values = np.random.default_rng(1).standard_normal((4, grid.num_vertices))
    fe_relu.save(fe_relu.P1Network(grid, values, is_complex=True), "z.safetensors")
    named = "4: u0 real, u0 imaginary, u1 real, u1 imaginary"
    assert rows_of(capsys, "info", "z.safetensors")["outputs"] == named
    quadrilaterals = QuadrilateralGrid((0, 0), np.eye(2), (2, 1))
    fe_relu.save(fe_relu.Q1Network(quadrilaterals, values[0]), "q.safetensors")
    rows = rows_of(capsys, "info", "q.safetensors")
    assert (rows["kind"], rows["grid"]) == ("Q1 function", "2 x 1 cells, 6 vertices")
    assert rows["neurons"].startswith("a network with 6 products")
    fe_relu.save(fe_relu.Q1Network(quadrilaterals, values[0]).explicit(), "e.safetensors")
    rows = rows_of(capsys, "info", "e.safetensors")
    assert (rows["kind"], rows["pairs"]) == ("ReLU network with pooling", "6")
    assert rows["memory"] == "736 bytes"


def test_info_of_other_networks(capsys):
    for shape in ((2, 3), (200, 200)):
        grid = fe_relu.Grid([0, 0], np.eye(2), shape, "right")
        values = np.random.default_rng(1).standard_normal(grid.refined(2).num_vertices)
        network = fe_relu.P2Network(grid, values, levels=12)
        fe_relu.save(network, "u.safetensors")
        rows = rows_of(capsys, "info", "u.safetensors")
        assert rows["error"] == f"at most {network.error_bound:.6g} from the P2 function"
        many = f"the explicit network of {network.values.size} nodes at 12 levels would have"
        if shape == (2, 3):
            many = str(network.explicit().num_neurons)
        assert rows["neurons"].startswith(many)
    fe_relu.save(fe_relu.deep.product_network(3), "xy.safetensors")
    rows = rows_of(capsys, "info", "xy.safetensors")
    assert (rows["kind"], rows["error"]) == ("deep ReLU network", f"at most {4.0**-4:.6g}")
    fe_relu.save(saved().explicit(), "layers.safetensors")
    rows = rows_of(capsys, "info", "layers.safetensors")
    assert rows["kind"] == "ReLU network, equal to a P1 function"
    assert rows["grid"] == "8 x 8 cells, right, 81 vertices"


# convert


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_onnx_and_back_to_the_grid_with_names_and_units(capsys, diagonal):
    called_so = {"names": ["T", "p"], "units": ["K", "Pa"]}
    network = saved(diagonal=diagonal, shape=(4, 6), components=(2,), **called_so)
    assert done(capsys, "convert", "u.safetensors", "u.onnx") == ""
    assert done(capsys, "convert", "u.onnx", "again.safetensors", "--p1") == ""
    again = fe_relu.load("again.safetensors")
    assert again.mesh.matches(network.mesh)
    assert (again.values == network.values).all()
    assert rows_of(capsys, "info", "again.safetensors")["outputs"] == "2: T [K], p [Pa]"


def test_names_in_onnx_that_are_none_are_no_names(capsys):
    network = saved(components=(2,))
    for text in ("[1, 2]", '["T"]', '{"T": 1}', "T", "[" * 100000, '["T", "p", "q"]'):
        fe_relu.to_onnx(network, "u.onnx", metadata={"output names": text})
        assert rows_of(capsys, "info", "u.onnx")["outputs"] == "2: u0, u1"


@pytest.fixture
def adios4dolfinx():
    return pytest.importorskip("adios4dolfinx", reason="adios4dolfinx is not installed")


@pytest.mark.parametrize("components", [(), (2,)])
def test_checkpoint_of_dolfinx(capsys, adios4dolfinx, components, rng):
    msh = rectangle(MPI.COMM_SELF, "crossed", (3, 5))
    u = random_function(fem.functionspace(msh, ("Lagrange", 1, components or None)), rng)
    adios4dolfinx.write_mesh(Path("u.bp"), msh)
    adios4dolfinx.write_function(Path("u.bp"), u, time=0.0, name="T")
    expected = {}
    for time in (2e-9, 7e-9, 0.1 + 0.2):
        u.x.array[:] *= 2
        adios4dolfinx.write_function(Path("u.bp"), u, time=time, name="u")
        expected[time] = u.copy()
    x, cells = points_in_cells(msh, 50, rng)
    words = ("convert", "u.bp", "v.safetensors", "--name", "u")
    for given, time in (("2e-9", 2e-9), ("7e-9", 7e-9), ("0.3", 0.1 + 0.2)):
        assert done(capsys, *words, "--time", given) == ""
        found = np.atleast_2d(fe_relu.load("v.safetensors")(x))
        assert np.abs(found - evaluated(expected[time], x, cells)).max() <= 1e-12
    times = "2e-09, 7e-09, 0.30000000000000004"
    for options, told in (
        ("", "holds T, u; --name says which"),
        ("--name w", "holds no function 'w', but T, u"),
        ("--name u", f"holds u at the times {times}; --time says which"),
        ("--name u --time 3e-9", f"holds u at no time 3e-09, but at {times}"),
        ("--name T --time 1e-9", "holds T at no time 1e-09, but at 0.0"),
    ):
        assert told in refused(capsys, "convert", "u.bp", "w.safetensors", *options.split())


def test_checkpoint_of_a_mesh_that_moves(capsys, adios4dolfinx, rng):
    msh = rectangle(MPI.COMM_SELF, "right", (3, 5))
    u = random_function(fem.functionspace(msh, ("Lagrange", 1)), rng)
    append = adios4dolfinx.adios2_helpers.adios2.Mode.Append
    for time, options in ((0.0, {}), (1.0, {"mode": append})):
        adios4dolfinx.write_mesh(Path("u.bp"), msh, time=time, **options)
        adios4dolfinx.write_function(Path("u.bp"), u, time=time, name="u")
        msh.geometry.x[:, 0] += 0.5
    adios4dolfinx.write_function(Path("u.bp"), u, time=2.0, name="u")
    words = ("convert", "u.bp", "v.safetensors", "--name", "u", "--time")
    for time, shift in ((0, 0.0), (1, 0.5)):
        assert done(capsys, *words, time) == ""
        assert fe_relu.load("v.safetensors").mesh.origin.tolist() == [shift, 0]
    assert "holds the mesh at no time 2.0, but at 0.0, 1.0" in refused(capsys, *words, 2)
    v = fem.Function(fem.functionspace(msh, ("Lagrange", 2)))
    adios4dolfinx.write_function(Path("u.bp"), v, name="v")
    told = refused(capsys, "convert", "u.bp", "v.safetensors", "--name", "v")
    assert "it is not P1 on triangles" in told
    os.mkdir("empty.bp")
    told = refused(capsys, "convert", "empty.bp", "u.safetensors")
    assert told.startswith("empty.bp: no checkpoint")


# eval


@pytest.mark.parametrize("out", ["values.npy", "values.csv"])
@pytest.mark.parametrize("columns", [2, 3])
@pytest.mark.parametrize("given", ["<f8", ">f8", "<f4", "<i4", ",", " ", "\t", ", ", "x,y,z"])
def test_values_are_those_of_the_network(capsys, monkeypatch, given, columns, out):
    monkeypatch.setattr(points, "BLOCK_BYTES", 1000)
    names = ["T", "p, q"][: columns - 1]
    network = saved(components=(2,) if columns == 3 else (), names=names)
    path, x, titled = "points.csv", random_points(500, columns), given == "x,y,z"
    if given[-1].isdigit():
        path, x = "points.npy", x.astype(given)
        np.save(path, x)
    elif titled:
        np.savetxt(path, x, "%.17g", ",", header=given[: 2 * columns - 1], comments="")
    else:
        np.savetxt(path, x, "%.17g", given)
    assert done(capsys, *EVAL, path, "-o", out) == ""
    expected = network(x.T[:2].astype(x.dtype.newbyteorder("="))).T
    if out.endswith(".npy"):
        found = np.load(out)
        assert found.dtype == expected.dtype
    else:
        first = Path(out).read_text().splitlines()[0]
        assert (first == ["T", 'T,"p, q"'][columns - 2]) == titled
        found = np.loadtxt(out, expected.dtype, delimiter=",", skiprows=int(titled))
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


TEXTS = {
    "blank lines": "\n1,2\n\n \n3,4\n\n",
    "no newline at the end": "1,2\n3,4",
    "carriage returns": "x,y\r\n1,2\r\n3,4\r\n",
    "mark and names": "\ufeffx,y\n1,2\n3,4\n",
    "comment of NumPy": "# x y\n1 2\n3 4\n",
    "exponents": "\ufeff1e0,2.0E+0\n+3,.4e1\n",
    "index of pandas": ",x,y\n0,1,2\n1,3,4\n",
    "index with a name": "index,x,y,u\n0,1,2,\n1,3,4,nan\n",
    "order": "Y,x\n2,1\n4,3\n",
    "time": "t,x,y,z\n0,1,2,0\n0.5,3,4,0\n",
    "words and quotes": '"who","x","y"\n"P, 1",1,2\nP2,3,4\n',
    "units with spaces": "x [m]\ty (µm)\n1\t2\n3\t4\n",
}


@pytest.mark.parametrize("text", TEXTS)
def test_tables_in_all_their_forms_and_shares(monkeypatch, text):
    Path("points.txt").write_bytes(TEXTS[text].encode())
    for block, ranks in itertools.product((1, 4, 1000), (1, 2, 3, 7)):
        monkeypatch.setattr(points, "BLOCK_BYTES", block)
        found = points.points_in("points.txt", 2)
        parts = [b.points for rank in range(ranks) for b in found.blocks(rank, ranks)]
        assert np.concatenate(parts, axis=1).T.tolist() == [[1, 2], [3, 4]]
        assert sum(found.share(rank, ranks) for rank in range(ranks)) == found.share(0, 1)


def test_outside(capsys):
    network = saved()
    x = np.array([[0.0, 1.0], [-1.1, 1.0], [9.0, 9.0], [1.0, 1.5]])
    np.savetxt("points.csv", x, delimiter=",")
    words = (*EVAL, "points.csv", "-o", "v.npy", "--outside")
    for outside in ("extend", "nan"):
        assert done(capsys, *words, outside) == ""
        assert np.array_equal(np.load("v.npy"), network(x.T, outside=outside), equal_nan=True)
    told = refused(capsys, *words, "raise")
    assert told.startswith("points.csv: line 2: the point (-1.1, 1.0) is outside the mesh")
    fe_relu.save(network.explicit(), "u.safetensors")
    assert "--outside nan is for networks with a mesh" in refused(capsys, *words, "nan")


BAD_TEXTS = {
    "": "line 1: the file ends without a point",
    "1,2,3,4\n": "line 1: 4 columns; points have 2 or 3",
    "1,2\n\n3,4,5\n": "line 3: 3 columns, not 2",
    "x,y\n1,2\n3,4,5\n": "line 3: 3 columns, not 2",
    "1 2\n3,4\n": "line 2: 1 columns, not 2",
    "1,2\n3,four\n": "line 2: 'four' is no number",
    "1,2\n3,\n": "line 2: '' is no number",
    "x,y\nz,t\n1,2\n": "line 2: 'z,t' is no point",
    "x,y\n\n1,inf\n": "line 3: the point (1.0, inf) is not finite",
    "z,y,x\nnan,1,2\n": "line 2: the point (2.0, 1.0, nan) is not finite",
    "1,2\n3,4_0\n": "line 2: '4_0' is no number",
    "lon,lat\n1,2\n": "line 2: 0 columns have the name x in the line before, 'lon,lat'",
    "x,x-velocity\n1,2\n": "line 2: 0 columns have the name y",
    "x,y,X [m]\n1,2,3\n": "line 2: 2 columns have the name x",
    "x,y,z,z\n1,2,3,4\n": "line 2: 2 columns have the name z",
    "x,y\n1,2,3\n": "line 2: 3 columns, but the names before are 'x,y'",
    "0" * 70000: "line 1 has more than 65536 bytes",
    "1,2\n" + "0" * 70000: "line 2",
}


@pytest.mark.parametrize("block", [1, 100, 1 << 22])
def test_bad_tables_are_named_by_line(monkeypatch, block):
    monkeypatch.setattr(points, "BLOCK_BYTES", block)
    for text, told in BAD_TEXTS.items():
        Path("points.csv").write_text(text)
        with pytest.raises(ValueError, match=re.escape(f"points.csv: {told}")):
            list(points.points_in("points.csv", 2).blocks(0, 1))


def test_bad_arrays_are_named(capsys):
    saved()
    words = (*EVAL, "points.npy", "-o", "v.npy")
    for array, told in (
        (np.zeros(4), "an array of shape (4,)"),
        (np.zeros((4, 5)), "5 columns; points have 2 or 3"),
        (np.zeros((4, 2), complex), "an array of complex128"),
        (np.full((4, 2), None), "object"),
        (np.zeros((4, 2), order="F"), "np.ascontiguousarray"),
        (np.array([[0, 0], [0, np.nan]]), "row 1: the point (0.0, nan) is not finite"),
    ):
        np.save("points.npy", array)
        assert re.match(f"points.npy: .*{re.escape(told)}", refused(capsys, *words))
    for claim in ("(-1, 2)", "(True, 2)", "(4, -2)", f"({10**19}, 2)", "(5, 2)"):
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {claim}, }}".ljust(117)
        content = b"\x93NUMPY\x01\x00v\x00" + header.encode() + b"\n" + bytes(64)
        for cut in (len(content), 20, 0):
            Path("points.npy").write_bytes(content[:cut])
            assert refused(capsys, *words).startswith("points.npy: no npy file that is whole")
    np.save("points.npy", np.zeros((0, 2)))
    assert done(capsys, *words) == ""
    assert np.load("v.npy").shape == (0,)


REFUSALS = {
    "": "required: COMMAND",
    "dance": "invalid choice: 'dance'",
    "info u.npz": "u.npz: the suffix must be one of .safetensors, .onnx, .bp",
    "info none.onnx": "none.onnx: no such file",
    "convert u.safetensors u.mat": "u.mat: the suffix must be one of .safetensors, .onnx",
    "convert u.safetensors v.safetensors --form relu": "--form is not for .safetensors files",
    "convert u.safetensors v.onnx --time 1": "u.safetensors: --time is not for .safetensors files",
    "convert u.safetensors none/u.onnx": "none: no such folder to save in",
    "convert xy.safetensors v.safetensors --p1": "has 2 inputs and 5 hidden layers",
    "eval u.safetensors u.csv -o v.txt": "v.txt: the suffix must be one of .npy, .csv",
    "eval u.safetensors none.csv -o v.npy": "none.csv: No such file or directory",
    "eval u.safetensors u.csv -o none/v.npy": "none: no such folder to save in",
    "eval u.safetensors pipe.csv -o v.npy": "pipe.csv: no regular file",
    "eval u.safetensors pipe.npy -o v.npy": "pipe.npy: no regular file",
    "eval u.safetensors /dev/zero -o v.npy": "/dev/zero: no regular file",
    "eval u.safetensors u.csv -o ./u.csv": "./u.csv: the same file as u.csv",
    "eval u.safetensors u.csv -o hard.csv": "hard.csv: the same file as u.csv",
    "eval u.safetensors u.csv -o network.csv": "network.csv: the same file as u.safetensors",
    "convert u.safetensors u.safetensors": "the same file as u.safetensors",
    "compress u.safetensors --tol 1 -o u.safetensors": "the same file as u.safetensors",
    "compress u.safetensors -o v.onnx --tol -1": "tol",
    "compress u.safetensors -o v.onnx --tol 1 --levels 9": "halving 9 times needs",
    "plot u.safetensors -o u.docx": "u.docx: pictures are not known by this suffix",
    "plot xy.safetensors -o u.png": "has 2 inputs and 5 hidden layers",
}


def test_refusals(capsys):
    saved()
    fe_relu.save(fe_relu.deep.product_network(3), "xy.safetensors")
    Path("u.csv").write_text("0,1\n")
    os.link("u.csv", "hard.csv")
    os.symlink("u.safetensors", "network.csv")
    os.mkfifo("pipe.csv")
    os.symlink("pipe.csv", "pipe.npy")
    for line, told in REFUSALS.items():
        assert told in refused(capsys, *line.split()), line


@pytest.mark.parametrize("path", ["points.npy", "points.csv"])
def test_memory_does_not_grow_with_the_number_of_points(capsys, path):
    """Four times the points: their arrays alone would take 14 MB more."""
    saved()
    peaks = []
    for count in (300_000, 1_200_000):
        if path.endswith(".npy"):
            np.save(path, np.tile(random_points(1000), (count // 1000, 1)))
        else:
            Path(path).write_bytes(b"0.25,0.75\n0.5,0.125\n" * (count // 2))
        tracemalloc.start()
        assert done(capsys, *EVAL, path, "-o", "v.npy") == ""
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert np.load("v.npy", mmap_mode="r").shape == (count,)
    assert peaks[1] - peaks[0] < 3e6


# compress, plot


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("--tol 0.5", {"tol": 0.5}),
        ("--tol 0.1 --relative", {"tol": 0.1, "relative": True}),
        ("--max-neurons 60", {"max_neurons": 60}),
        ("--tol 3 --norm H1", {"tol": 3.0, "norm": "H1"}),
        ("--tol 0.5 --levels 1", {"tol": 0.5}),
    ],
)
def test_compress(capsys, words, options):
    network = saved()
    levels = 1 if "levels" in words else None
    expected = hierarchical_from_network(network, levels=levels).compress(**options)
    command = ("compress", "u.safetensors", *words.split())
    rows = rows_of(capsys, *command)
    assert os.listdir() == ["u.safetensors"]  # without a file to write it only reports
    assert rows_of(capsys, *command, "-o", "small.safetensors") == rows
    kept = " + ".join(map(str, expected.kept))
    assert rows == {
        "kept": f"{expected.num_kept} of 81 coefficients = {kept}",
        "neurons": str(expected.explicit().num_neurons),
        "error": f"{expected.error:.6g}",
        "bound": f"{expected.bound:.6g}",
        "H1 error": f"{expected.h1_error:.6g}",
    }
    small, x = fe_relu.load("small.safetensors"), random_points(200).T
    assert (small(x) == expected(x)).all()
    x = x[:, network.mesh.contains(x)]
    assert np.abs(small(x) - network(x)).max() <= expected.error * (1 + 1e-12)


def test_plot(capsys):
    image = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    saved(components=(2,))
    assert done(capsys, "plot", "u.safetensors", "-o", "u.png") == ""
    pixels = image.imread("u.png")
    assert pixels.shape[1] > 2 * pixels.shape[0]  # two panels
    assert pixels[:, :, :3].std() > 0.05  # neither is blank


# Ranks


def errors_in(ended):
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    return [line for line in ended.stderr.splitlines() if line.startswith("fe-relu: error: ")]


def test_ranks_share_the_points():
    network = saved(shape=(32, 16), components=(2,), names=["T", "p"])
    x = random_points(20_001)
    np.savetxt("x.csv", x, "%.17g", ",", header="x,y", comments="")
    np.save("x.npy", x)
    for suffix in (".csv", ".npy"):
        for start, out in ((FE_RELU, "one"), ((*MPIRUN, *FE_RELU), "two")):
            ended = typed(*EVAL, "x" + suffix, "-o", out + suffix, start=start)
            assert (ended.returncode, ended.stdout) == (0, "")
        assert Path("one" + suffix).read_bytes() == Path("two" + suffix).read_bytes()
    assert (np.load("two.npy") == network(x.T).T).all()
    x[15_000, 1] = np.nan  # the second rank's
    np.save("x.npy", x)
    wrapped = (*MPIRUN, "sh", "-c", '"$@"; exit $?', "sh", *FE_RELU)  # a shell is no rank
    (told,) = errors_in(typed(*EVAL, "x.npy", "-o", "two.npy", start=wrapped))
    assert told.startswith("fe-relu: error: on rank 1: x.npy: row 15000: the point (")
    assert Path("one.npy").read_bytes() == Path("two.npy").read_bytes()


def test_commands_for_one_process_run_on_the_first_rank(adios4dolfinx):
    saved()
    ended = typed("info", "u.safetensors", start=(*MPIRUN, *FE_RELU))
    assert (ended.returncode, ended.stdout.count("kind")) == (0, 1)
    assert typed("--help", start=(*MPIRUN, *FE_RELU)).stdout.count("usage") == 1
    msh = rectangle(MPI.COMM_SELF)
    adios4dolfinx.write_mesh(Path("u.bp"), msh)
    adios4dolfinx.write_function(Path("u.bp"), fem.Function(fem.functionspace(msh, ("P", 1))))
    ended = typed("convert", "u.bp", "v.safetensors", start=(*MPIRUN, *FE_RELU))  # starts MPI
    assert ended.returncode == 0
    assert os.path.exists("v.safetensors")


def test_a_process_that_a_rank_starts_is_no_rank():
    network = saved()
    np.save("x.npy", random_points(100))
    start = (*MPIRUN, *staged("child"))
    assert "usage" in typed("--help", start=start).stdout
    assert typed(*EVAL, "x.npy", "-o", "v.npy", start=start).returncode == 0
    assert (np.load("v.npy") == network(random_points(100).T)).all()
    assert len(errors_in(typed("dance", start=start))) == 1


#: A process that waits for ranks which never start, or start at once.
WAITING = """
import sys, time
from fe_relu.parallel import launched
launched.PATIENCE, launched.PATIENCE_AT_START = 0.2, float(sys.argv[1])
with launched._watched():
    time.sleep(float(sys.argv[2]))
print("started")
"""


def test_a_rank_whose_others_never_start_says_so_and_ends():
    def waited(*seconds):
        command = [sys.executable, "-c", WAITING, *seconds]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    alone = waited("1", "50")
    assert (alone.returncode, alone.stdout) == (-9, "")
    assert "the others have not started it too; env -u OMPI_COMM_WORLD_SIZE" in alone.stderr
    assert alone.stderr.count("\n") == 1
    late, prompt = waited("50", "1"), waited("50", "0")
    assert (late.returncode, late.stdout) == (0, "started\n")
    assert (prompt.returncode, prompt.stdout, prompt.stderr) == (0, "started\n", "")


@pytest.mark.parametrize(
    ("scene", "words", "told"),
    [
        ("uneven", "eval u v -o w", "'known to one rank'"),
        ("late", "dance", "invalid choice: 'dance'"),
        ("blocked", "eval u v -o w", "needs mpi4py"),
    ],
)
def test_errors_of_one_rank_and_of_all_are_told_once_and_end_all(scene, words, told):
    (error,) = errors_in(typed(*words.split(), start=(*MPIRUN, *staged(scene))))
    assert told in error


# linear regions of layers


def trained():
    """Layers that are no P1 function on a grid, in an ONNX file."""
    rng = np.random.default_rng(0)
    widths = (2, 7, 5, 2)
    layers = [
        fe_relu.Affine(rng.standard_normal((b, a)), rng.uniform(-1, 1, b))
        for a, b in itertools.pairwise(widths)
    ]
    network = fe_relu.ReLUNetwork(tuple(layers))
    fe_relu.to_onnx(network, "trained.onnx")
    return network


def test_info_of_layers_says_regions_and_exact_bounds(capsys):
    network = trained()
    for words, box in (
        ((), ((0, 1), (0, 1))),
        (("--box", "-1", "1", "-2", "1"), ((-1, 1), (-2, 1))),
    ):
        found = fe_relu.linear_regions(network, box)
        out = done(capsys, "info", "trained.onnx", *words)
        assert f"{found.num_regions} linear ones in" in out
        low, high = found.values.min(axis=1)[1], found.values.max(axis=1)[1]
        assert f"u1 from {low:.6g} to {high:.6g}" in out
    assert "two numbers" in refused(capsys, "info", "trained.onnx", "--box", "1")


def test_regions_are_drawn_and_written_for_paraview(capsys):
    pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    network = trained()
    assert done(capsys, "plot", "trained.onnx", "-o", "u.png", "--box", "0", "1", "0", "2") == ""
    assert os.path.getsize("u.png") > 1000
    done(capsys, "convert", "trained.onnx", "trained.xdmf", "--box", "0", "1", "0", "2")
    from dolfinx.io import XDMFFile

    with XDMFFile(MPI.COMM_SELF, "trained.xdmf", "r") as file:
        mesh = file.read_mesh()
    regions = fe_relu.linear_regions(network, ((0, 1), (0, 2)))
    assert mesh.topology.index_map(2).size_local == regions.mesh().num_cells
    assert "--box" in refused(capsys, "convert", "trained.onnx", "trained.xdmf")
