# SPDX-License-Identifier: MIT
"""The command line as a user types it: what it prints, writes, refuses, and leaves behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem

import fe_relu
from cases import DIAGONALS, evaluated, points_in_cells, random_function, rectangle
from fe_relu.cli import main as cli
from fe_relu.cli import npy_points, npz, streaming, text_points
from fe_relu.cli.summary import explicit_size
from fe_relu.formats import replacing
from fe_relu.hierarchy.transform import hierarchical_from_network

TESTS = Path(__file__).parent
FE_RELU = (sys.executable, "-m", "fe_relu")

#: What says that a process is a rank; and the little of it that says how to start ranks at all.
RANK_PREFIXES = ("OMPI_", "PMI", "MPI_", "MV2_")
KEPT = (
    "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_btl",
    "OMPI_MCA_mpi_yield_when_idle",
)  # fmt: skip


def serial_environment():
    return {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or not name.startswith(RANK_PREFIXES)
    }


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """In a folder of its own, and not as a rank of anything."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - serial_environment().keys():
        monkeypatch.delenv(name)


def typed(*words, start=FE_RELU, **options):
    """What a command does that is typed into a shell."""
    return subprocess.run(
        [*start, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=90,
        env=serial_environment() | {"PYTHONPATH": str(TESTS.parent)},
        **options,
    )


def called(capsys, *words):
    """The same in this process: exit code, standard output, standard error."""
    code = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *words):
    """The one line of an error, after its prefix; nothing was printed or written."""
    before = sorted(os.listdir())
    code, out, err = called(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("fe-relu: error: ")
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == before
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


# Programs


def test_help_of_every_command_shows_an_example(capsys):
    text = typed("--help").stdout
    for command in ("info", "convert", "eval", "compress", "plot"):
        assert f"\n    {command} " in text
        with pytest.raises(SystemExit) as ended:
            cli.main([command, "--help"])
        assert ended.value.code == 0
        assert f"example:\n  fe-relu {command} " in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fe-relu {fe_relu.__version__}\n"


def test_errors_are_one_line_with_code_2_and_debug_shows_the_place():
    plain = typed("info", "none.safetensors")
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr == "fe-relu: error: none.safetensors: no such file\n"
    full = typed("info", "none.safetensors", "--debug")
    assert full.returncode == 2
    assert full.stderr.startswith("Traceback")
    assert full.stderr.endswith(plain.stderr)


def test_broken_pipe_is_quiet():
    saved()
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [*FE_RELU, "info", "u.safetensors"],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=90,
        env=serial_environment() | {"PYTHONPATH": str(TESTS.parent)},
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
def test_output_that_cannot_be_written_is_one_line():
    saved()
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*FE_RELU, "info", "u.safetensors"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=90,
            env=serial_environment() | {"PYTHONPATH": str(TESTS.parent)},
        )
    assert ended.returncode == 2
    assert ended.stderr == "fe-relu: error: standard output: No space left on device\n"


def test_errors_are_plain_text_in_one_line(capsys):
    escapes = "\x1b[1;31mred\x1b[0m\n.onnx"
    told = refused(capsys, "info", escapes)
    assert told == "red .onnx: no such file"
    saved()
    assert refused(capsys, "eval", "u.safetensors", "a\n\tb\x07", "-o", "v.npy").startswith("a b: ")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf, which onnx imports
def test_folders_that_cannot_be_written_are_told_by_the_file(capsys, monkeypatch):
    saved()
    Path("u.csv").write_text("0,1\n")

    def denied(*_, **options):
        raise PermissionError(13, "Permission denied", "tmp1234")

    monkeypatch.setattr(streaming.tempfile, "TemporaryFile", denied)
    told = refused(capsys, "eval", "u.safetensors", "u.csv", "-o", "values.npy")
    assert told == f"{os.path.realpath('values.npy')}: Permission denied"
    monkeypatch.setattr(replacing, "open", denied, raising=False)
    for out in ("v.onnx", "v.safetensors"):
        told = refused(capsys, "convert", "u.safetensors", out)
        assert told == f"{os.path.realpath(out)}: Permission denied"


def test_interrupt_leaves_the_old_file_and_nothing_else():
    saved()
    np.save("points.npy", np.zeros((1, 2)))
    Path("values.npy").write_bytes(b"old")
    os.mkfifo("points.csv")  # a reader waits in it for ever
    process = subprocess.Popen(
        [
            *FE_RELU,
            "eval",
            "u.safetensors",
            "points.csv",
            "-o",
            "values.npy",
        ],
        stderr=subprocess.PIPE,
        env=serial_environment() | {"PYTHONPATH": str(TESTS.parent)},
    )
    with open("points.csv", "wb"):  # opens when the reader has
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=90)
    assert (process.returncode, err) == (130, b"")
    assert Path("values.npy").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["points.csv", "points.npy", "u.safetensors", "values.npy"]


BARE = """
import sys
sys.path.insert(0, {tests!r})
import bare
sys.meta_path.insert(0, bare.Blocked())
from fe_relu.cli.main import main
sys.exit(main())
"""


def bare(*words):
    """A command where nothing but NumPy, SciPy and Numba can be imported."""
    return typed(*words, start=(sys.executable, "-c", BARE.format(tests=str(TESTS))))


def test_without_optional_packages():
    network = saved()
    points = random_points(50)
    np.savetxt("points.csv", points)
    assert bare("convert", "u.safetensors", "u.npz").returncode == 0
    ended = bare("eval", "u.npz", "points.csv", "-o", "values.npy")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (np.load("values.npy") == network(np.loadtxt("points.csv").T)).all()
    os.mkdir("u.bp")
    for words, package in (
        (("convert", "u.npz", "u.onnx"), "python3-onnx"),
        (("plot", "u.npz", "-o", "u.png"), "python3-matplotlib"),
        (("convert", "u.bp", "u.npz"), "python3-dolfinx"),
    ):
        ended = bare(*words)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "pip install" in ended.stderr or "conda install" in ended.stderr
        assert ended.stderr.endswith(f"apt install {package}\n")


def console_blocks():
    """The commands on the page of the command line, each with what the page says it prints."""
    page = (TESTS.parent / "docs" / "cli.md").read_text()
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for part in block.split("$ ")[1:]:
            line, _, output = part.partition("\n")
            yield line, output


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of onnx and matplotlib
def test_page_shows_what_commands_print(capsys):
    page = (TESTS.parent / "docs" / "cli.md").read_text()
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1), {})
    for line, output in console_blocks():
        program, *words = line.split()
        if program == "cat":
            assert Path(words[0]).read_text() == output
        else:
            assert program == "fe-relu"
            _, out, err = called(capsys, *words)
            assert out + err == output, line


# info


def test_info_of_a_named_network(capsys):
    network = saved("t", components=(2,), names=["T", "p"], units=["K", "Pa"])
    code, out, err = called(capsys, "info", "t.safetensors")
    assert (code, err) == (0, "")
    rows = dict(line.split("  ", 1) for line in out.splitlines() if not line.startswith("bounds"))
    rows = {name: text.strip() for name, text in rows.items()}
    layers = network.explicit()
    assert rows["kind"] == "P1 function"
    assert rows["grid"] == "8 x 8 cells, right, 81 vertices"
    assert rows["domain"] == "[-1, 1] x [0.5, 1.5]"
    assert rows["outputs"] == "2: T [K], p [Pa]"
    assert rows["neurons"] == f"{layers.num_neurons} = {layers.widths[1]} + {layers.widths[2]}"
    assert rows["non-zeros"] == str(layers.num_nonzeros)
    low, high = network.values.min(axis=1), network.values.max(axis=1)
    for k, name in enumerate("Tp"):
        assert f"{name} from {low[k]:.6g} to {high[k]:.6g}\n" in out
    columns = {len(line) - len(line.split("  ", 1)[1].lstrip()) for line in out.splitlines()}
    assert len(columns) == 1


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_size_is_that_of_the_layers_which_are_not_made(diagonal):
    for shape in ((1, 1), (1, 2), (2, 1), (3, 5), (4, 4), (9, 8)):
        for axes in (np.diag([0.3, 0.2]), [[0.1, 0.02], [0, 0.1]]):
            grid = fe_relu.Grid((0.1, 3.0), axes, shape, diagonal)
            values = np.arange(2 * grid.num_vertices, dtype=float).reshape(2, -1)
            network = fe_relu.P1Network(grid, values)
            layers, size = network.explicit(), explicit_size(network)
            assert (size.hidden, size.nonzeros) == (layers.widths[1:-1], layers.num_nonzeros)


def test_info_needs_no_layers(capsys, monkeypatch):
    saved(shape=(300, 200), diagonal="crossed")
    monkeypatch.setattr(fe_relu.P1Network, "explicit", None)
    code, out, _ = called(capsys, "info", "u.safetensors")
    assert code == 0
    assert "300 x 200 cells, crossed, 120501 vertices" in out


def test_info_of_deep_and_explicit_networks(capsys):
    fe_relu.save(fe_relu.deep.product_network(3), "xy.safetensors")
    _, out, _ = called(capsys, "info", "xy.safetensors")
    assert "deep ReLU network" in out
    assert f"error      at most {4.0**-4:.6g}" in out
    fe_relu.save(saved().explicit(), "layers.safetensors")
    _, out, _ = called(capsys, "info", "layers.safetensors")
    assert "ReLU network, equal to a P1 function" in out
    assert "8 x 8 cells, right, 81 vertices" in out


# convert


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_npz_is_the_safetensors_file_and_back(capsys, dtype):
    network = saved(components=(2,), dtype=dtype, names=["T", "p"], units=["K", "Pa"])
    assert called(capsys, "convert", "u.safetensors", "u.npz") == (0, "", "")
    with np.load("u.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == {"values", "__metadata__"}
        assert arrays["values"].tobytes() == network.values.tobytes()
    assert called(capsys, "convert", "u.npz", "again.safetensors") == (0, "", "")
    assert Path("again.safetensors").read_bytes() == Path("u.safetensors").read_bytes()


@pytest.mark.parametrize("layers", [False, True])
def test_damaged_npz_files_are_refused_or_valid(layers):
    network = saved(shape=(3, 2))
    npz.save_npz(network.explicit() if layers else network, "u.npz", names=["T"])
    content = Path("u.npz").read_bytes()
    rng = np.random.default_rng(7)
    refusals = []
    for _ in range(500):
        damaged = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        Path("damaged.npz").write_bytes(damaged[: rng.choice([len(damaged), rng.integers(2000)])])
        try:
            npz.load_npz("damaged.npz")
        except fe_relu.FileFormatError as error:
            refusals.append(str(error))
    assert len(refusals) > 250
    assert all(told.startswith("damaged.npz: ") for told in refusals)


NO_NETWORKS = {
    "an array": (lambda: np.zeros(3).dump("u.npz"), "no zip archive"),
    "words": (lambda: Path("u.npz").write_text("x,y\n0,1\n"), "no zip archive"),
    "npy": (lambda: Path("u.npz").write_bytes(Path("u.npy").read_bytes()), "no zip archive"),
    "much of nothing": (
        lambda: np.savez_compressed("u.npz", values=np.zeros(1 << 24)),
        "would take 128 MiB",
    ),
    "pickles": (lambda: np.savez("u.npz", values=np.array([None])), "allow_pickle=False"),
    "no metadata": (
        lambda: np.savez("u.npz", values=np.zeros(3)),
        "__metadata__ is not valid JSON",
    ),
    "text": (lambda: np.savez("u.npz", __metadata__=np.array("{}"), a=np.array("b")), "<U1"),
    "nothing known": (lambda: np.savez("u.npz", __metadata__=np.array("{}")), "the format None"),
}


@pytest.mark.parametrize("case", NO_NETWORKS)
def test_npz_files_of_others_are_refused(capsys, case):
    write, words = NO_NETWORKS[case]
    np.save("u.npy", np.zeros(3))
    write()
    told = refused(capsys, "info", "u.npz")
    assert told.startswith("u.npz: ")
    assert words in told


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf, which onnx imports
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_onnx_and_back_to_the_grid(capsys, diagonal):
    network = saved(diagonal=diagonal, shape=(4, 6))
    assert called(capsys, "convert", "u.safetensors", "u.onnx") == (0, "", "")
    assert called(capsys, "convert", "u.onnx", "u.npz", "--p1") == (0, "", "")
    assert called(capsys, "convert", "u.npz", "again.safetensors") == (0, "", "")
    again = fe_relu.load("again.safetensors")
    assert again.mesh.matches(network.mesh)
    assert (again.values == network.values).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf, which onnx imports
def test_names_and_units_survive_onnx(capsys):
    saved(components=(2,), names=["T", "p"], units=["K", "Pa"])
    assert called(capsys, "convert", "u.safetensors", "u.onnx") == (0, "", "")
    assert called(capsys, "convert", "u.onnx", "again.npz", "--p1") == (0, "", "")
    code, out, _ = called(capsys, "info", "again.npz")
    assert code == 0
    assert "2: T [K], p [Pa]" in out


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf, which onnx imports
@pytest.mark.parametrize(
    "text", ["[1, 2]", '["T"]', '{"T": 1}', "T", "[" * 100000, '["T", "p", "q"]']
)
def test_names_in_onnx_that_are_none_are_no_names(capsys, text):
    network = saved(components=(2,))
    fe_relu.to_onnx(network, "u.onnx", metadata={"output names": text})
    code, out, err = called(capsys, "info", "u.onnx")
    assert (code, err) == (0, "")
    assert "2: u0, u1" in out


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf, which onnx imports
def test_active_form_runs_in_onnxruntime(capsys):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network = saved(names=["T"])
    assert called(capsys, "convert", "u.safetensors", "u.onnx", "--form", "active") == (0, "", "")
    session = onnxruntime.InferenceSession("u.onnx", providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["output names"] == '["T"]'
    points = random_points(100)
    (values,) = session.run(None, {"x": points})
    assert np.abs(values[:, 0] - network(points.T)).max() <= 1e-12


#: dolfinx 0.11 warns of what adios4dolfinx asks it.
checkpoints = pytest.mark.filterwarnings("ignore:(cmap|dofmap) is deprecated:DeprecationWarning")


@checkpoints
@pytest.mark.parametrize("components", [(), (2,)])
def test_checkpoint_of_dolfinx(capsys, components, rng):
    adios4dolfinx = pytest.importorskip(
        "adios4dolfinx", reason="adios4dolfinx, which writes checkpoints, is not installed"
    )
    msh = rectangle(MPI.COMM_SELF, "crossed", (3, 5))
    u = random_function(fem.functionspace(msh, ("Lagrange", 1, components or None)), rng)
    other = random_function(fem.functionspace(msh, ("Lagrange", 1)), rng)
    later = u.copy()
    later.x.array[:] *= 2
    adios4dolfinx.write_mesh(Path("u.bp"), msh)
    for name, written, at in (("T", other, 0.0), ("u", u, 0.5), ("u", later, 2.0)):
        adios4dolfinx.write_function(Path("u.bp"), written, time=at, name=name)
    code, out, err = called(
        capsys, "convert", "u.bp", "u.safetensors", "--name", "u", "--time", 0.5
    )
    assert (code, out, err) == (0, "", "")
    points, cells = points_in_cells(msh, 50, rng)
    found = np.atleast_2d(fe_relu.load("u.safetensors")(points))
    assert np.abs(found - evaluated(u, points, cells)).max() <= 1e-12
    refusals = {
        (): "holds T, u; --name says which",
        ("--name", "w"): "holds no function 'w', but T, u",
        ("--name", "u"): "at the times 0.5, 2; --time says which",
        ("--name", "u", "--time", 7): "at no time 7, but at 0.5, 2",
    }
    for options, words in refusals.items():
        assert words in refused(capsys, "convert", "u.bp", "v.npz", *options)


@checkpoints
def test_checkpoint_of_another_element(capsys):
    adios4dolfinx = pytest.importorskip(
        "adios4dolfinx", reason="adios4dolfinx, which writes checkpoints, is not installed"
    )
    msh = rectangle(MPI.COMM_SELF)
    adios4dolfinx.write_mesh(Path("u.bp"), msh)
    V = fem.functionspace(msh, ("Lagrange", 2))
    adios4dolfinx.write_function(Path("u.bp"), fem.Function(V))
    assert "it is not P1 on triangles" in refused(capsys, "convert", "u.bp", "u.npz")
    os.mkdir("empty.bp")
    assert refused(capsys, "convert", "empty.bp", "u.npz").startswith("empty.bp: no checkpoint")


# eval


@pytest.mark.parametrize("out", ["values.npy", "values.csv"])
@pytest.mark.parametrize("columns", [2, 3])
@pytest.mark.parametrize("given", ["<f8", ">f8", "<f4", "<i4", ",", " ", "\t", ", ", "titled"])
def test_values_are_those_of_the_network(capsys, monkeypatch, given, columns, out):
    monkeypatch.setattr(npy_points, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(text_points, "BLOCK_BYTES", 1000)
    network = saved(components=(2,) if columns == 3 else (), names=["T", "p"][: columns - 1])
    points = random_points(500, columns)
    if given[-1].isdigit():
        path, points = "points.npy", points.astype(given)
        np.save(path, points)
    else:
        path, header = "points.csv", "x [m],y [m],z [m]" if given == "titled" else ""
        sign = "," if given == "titled" else given
        np.savetxt(path, points, "%.17g", sign, header=header, comments="")
    assert called(capsys, "eval", "u.safetensors", path, "-o", out) == (0, "", "")
    expected = network(points.T.astype(points.dtype.newbyteorder("="))).T
    if out.endswith(".npy"):
        found = np.load(out)
        assert found.dtype == expected.dtype
    else:
        first = Path(out).read_text().splitlines()[0]
        assert (first == ",".join(["T", "p"][: columns - 1])) == (given == "titled")
        found = np.loadtxt(out, delimiter=",", skiprows=int(given == "titled"))
    assert found.shape == expected.shape
    assert (found == expected).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_text_holds_every_bit(capsys, dtype):
    network = saved(dtype=dtype)
    points = random_points(300).astype(dtype)
    np.save("points.npy", points)
    assert called(capsys, "eval", "u.safetensors", "points.npy", "-o", "v.csv") == (0, "", "")
    assert np.loadtxt("v.csv", dtype).tobytes() == network(points.T).tobytes()


TEXTS = {
    "blank lines": "\n1,2\n\n \n3,4\n\n",
    "no newline at the end": "1,2\n3,4",
    "carriage returns": "x,y\r\n1,2\r\n3,4\r\n",
    "mark of Excel": "\ufeff1,2\n3,4\n",
    "mark and names": "\ufeffx,y\n1,2\n3,4\n",
    "comment of NumPy": "# x y\n1 2\n3 4\n",
    "exponents": "1e0,2.0E+0\n+3,.4e1\n",
}


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("block", [1, 4, 1000])
def test_tables_in_all_their_forms_and_shares(monkeypatch, text, ranks, block):
    monkeypatch.setattr(text_points, "BLOCK_BYTES", block)
    Path("points.txt").write_bytes(TEXTS[text].encode())
    points = streaming.points_in("points.txt", 2)
    parts = [b.points for rank in range(ranks) for b in points.blocks(rank, ranks)]
    assert np.concatenate(parts).tolist() == [[1, 2], [3, 4]]


def test_outside(capsys):
    network = saved()
    points = np.array([[0.0, 1.0], [-1.1, 1.0], [9.0, 9.0], [1.0, 1.5]])
    np.savetxt("points.csv", points, delimiter=",")
    for outside in ("extend", "nan"):
        words = ("points.csv", "-o", "v.npy", "--outside", outside)
        assert called(capsys, "eval", "u.safetensors", *words) == (0, "", "")
        expected = network(points.T, outside=outside)
        assert np.array_equal(np.load("v.npy"), expected, equal_nan=True)
    os.remove("v.npy")
    told = refused(
        capsys, "eval", "u.safetensors", "points.csv", "-o", "v.npy", "--outside", "raise"
    )
    assert told.startswith("points.csv: line 2: the point (-1.1, 1.0) is outside the mesh")
    fe_relu.save(network.explicit(), "layers.safetensors")
    told = refused(
        capsys, "eval", "layers.safetensors", "points.csv", "-o", "v.npy", "--outside", "nan"
    )
    assert "--outside nan is for networks with a mesh" in told


BAD_TEXTS = {
    "": "line 1: the file ends without a point",
    "x,y\n": "line 2: the file ends without a point",
    "1\n2\n": "line 1: 1 columns; points have 2 or 3",
    "1,2,3,4\n": "line 1: 4 columns; points have 2 or 3",
    "x,y\n1,2\n3\n": "line 3: 1 columns, not 2",
    "1,2\n\n3,4,5\n": "line 3: 3 columns, not 2",
    "1 2\n3,4\n": "line 2: 1 columns, not 2",
    "1,2\n3,four\n": "line 2: 'four' is no number",
    "1,2\n3,\n": "line 2: '' is no number",
    "x,y\nz,t\n1,2\n": "line 2: 'z,t' is no point",
    "1,2\n3,nan\n": "line 2: the point (3.0, nan) is not finite",
    "x,y\n\n1,inf\n": "line 3: the point (1.0, inf) is not finite",
    "1,2\n3,4_0\n": "line 2: '4_0' is no number",
    "0" * 70000: "line 1 has more than 65536 bytes",
}


@pytest.mark.parametrize("text", BAD_TEXTS, ids=range(len(BAD_TEXTS)))
@pytest.mark.parametrize("block", [1, 1 << 22])
def test_bad_tables_are_named_by_line(capsys, monkeypatch, text, block):
    monkeypatch.setattr(text_points, "BLOCK_BYTES", block)
    saved()
    Path("points.csv").write_text(text)
    told = refused(capsys, "eval", "u.safetensors", "points.csv", "-o", "values.csv")
    assert told.startswith(f"points.csv: {BAD_TEXTS[text]}")


def test_a_file_without_lines_is_not_read_as_a_whole(capsys, monkeypatch):
    monkeypatch.setattr(text_points, "BLOCK_BYTES", 100)
    saved()
    Path("points.csv").write_text("1,2\n" + "0" * 70000)
    told = refused(capsys, "eval", "u.safetensors", "points.csv", "-o", "values.csv")
    assert told.startswith("points.csv: line 2 has more than 65536 bytes")


@pytest.mark.parametrize("path", ["/dev/stdin", "pipe.npy"])
def test_points_in_a_pipe_are_refused(path):
    saved()
    Path("pipe.npy").symlink_to("/dev/stdin")
    np.save("points.npy", np.zeros((1, 2)))
    start = ("sh", "-c", 'cat points.npy | "$@"', "sh", *FE_RELU)
    if path == "/dev/stdin":
        start = ("sh", "-c", 'echo 0,1 | "$@"', "sh", *FE_RELU)
    ended = typed("eval", "u.safetensors", path, "-o", "values.npy", start=start)
    assert ended.returncode == 2
    assert ended.stderr == f"fe-relu: error: {path}: a pipe; points are read from a file only\n"


BAD_ARRAYS = {
    "one dimension": (np.zeros(4), "an array of shape (4,)"),
    "columns": (np.zeros((4, 5)), "5 columns; points have 2 or 3"),
    "complex": (np.zeros((4, 2), complex), "an array of complex128"),
    "objects": (np.full((4, 2), None), "an array of object"),
    "Fortran": (np.zeros((4, 2), order="F"), "np.ascontiguousarray"),
    "NaN": (np.array([[0, 0], [0, np.nan]]), "row 1: the point (0.0, nan) is not finite"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_named(capsys, case):
    array, words = BAD_ARRAYS[case]
    saved()
    np.save("points.npy", array)
    told = refused(capsys, "eval", "u.safetensors", "points.npy", "-o", "values.npy")
    assert told.startswith("points.npy: ")
    assert words in told


@pytest.mark.parametrize("claim", ["(-1, 2)", "(True, 2)", "(4, -2)"])
def test_arrays_of_no_shape(capsys, claim):
    saved()
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {claim}, }}".ljust(117) + "\n"
    Path("points.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.encode() + bytes(64))
    told = refused(capsys, "eval", "u.safetensors", "points.npy", "-o", "values.npy")
    assert told.startswith("points.npy: ")


def test_arrays_cut_off_and_without_points(capsys):
    saved()
    np.save("points.npy", np.zeros((0, 2)))
    assert called(capsys, "eval", "u.safetensors", "points.npy", "-o", "v.npy") == (0, "", "")
    assert np.load("v.npy").shape == (0,)
    np.save("points.npy", np.zeros((10, 2)))
    content = Path("points.npy").read_bytes()
    for cut, words in ((-1, "cut off"), (20, "no npy file"), (0, "no npy file")):
        Path("points.npy").write_bytes(content[:cut])
        told = refused(capsys, "eval", "u.safetensors", "points.npy", "-o", "w.npy")
        assert told.startswith(f"points.npy: {words}")


REFUSALS = {
    "": "required: COMMAND",
    "dance": "invalid choice: 'dance'",
    "info": "required: FILE",
    "info u.txt": "u.txt: the suffix must be one of .safetensors, .npz, .onnx, .bp",
    "info none.npz": "none.npz: no such file",
    "info u.safetensors more": "unrecognized arguments: more",
    "convert u.safetensors u.mat": "u.mat: the suffix must be one of .safetensors, .npz, .onnx",
    "convert u.safetensors u.npz --form relu": "u.npz: --form is not for .npz files",
    "convert u.safetensors u.npz --time 1": "u.safetensors: --time is not for .safetensors files",
    "convert u.safetensors none/u.npz": "none: no such folder to save in",
    "convert xy.safetensors u.npz --p1": "has 2 inputs and 5 hidden layers",
    "eval u.safetensors u.csv -o v.txt": "v.txt: the suffix must be one of .npy, .csv",
    "eval u.safetensors none.csv -o v.npy": "none.csv: No such file or directory",
    "eval u.safetensors u.csv -o none/v.npy": "none: no such folder to save in",
    "eval u.safetensors u.csv": "required: -o/--output",
    "compress u.safetensors -o v.npz": "one of the arguments --tol --max-neurons is required",
    "compress u.safetensors -o v.npz --tol 1 --max-neurons 9": "not allowed with",
    "compress u.safetensors -o v.npz --tol -1": "tol",
    "compress u.safetensors -o v.npz --tol 1 --levels 9": "halving 9 times needs",
    "plot u.safetensors -o u.docx": "u.docx: pictures are not known by this suffix",
    "plot xy.safetensors -o u.png": "has 2 inputs and 5 hidden layers",
}


@pytest.mark.parametrize("line", REFUSALS)
def test_refusals(capsys, line):
    saved()
    fe_relu.save(fe_relu.deep.product_network(3), "xy.safetensors")
    Path("u.csv").write_text("0,1\n")
    assert REFUSALS[line] in refused(capsys, *line.split())


#: Runs a command and prints the most memory it ever had, in MiB.
MEASURED = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "fe_relu", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


@pytest.mark.parametrize("path", ["points.npy", "points.csv"])
def test_memory_does_not_grow_with_the_number_of_points(path):
    """Ten times the points: their arrays alone would take 60 MiB more."""
    saved()
    most = []
    for count in (300_000, 3_000_000):
        if path.endswith(".npy"):
            np.save(path, np.tile(random_points(1000), (count // 1000, 1)))
        else:
            Path(path).write_bytes(b"0.25,0.75\n0.5,0.125\n0.0,1.5\n" * (count // 3))
        ended = typed(
            "eval", "u.safetensors", path, "-o", "v.npy", start=(sys.executable, "-c", MEASURED)
        )
        assert ended.stderr == ""
        most.append(float(ended.stdout))
        assert np.load("v.npy", mmap_mode="r").shape == (count,)
    assert most[1] - most[0] < 30


# compress, plot


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("--tol 0.5", {"tol": 0.5}),
        ("--tol 0.1 --relative", {"tol": 0.1, "relative": True}),
        ("--max-neurons 60", {"max_neurons": 60}),
        ("--tol 3 --norm H1", {"tol": 3.0, "norm": "H1"}),
    ],
)
def test_compress(capsys, words, options):
    network = saved()
    expected = hierarchical_from_network(network).compress(**options)
    code, out, err = called(
        capsys, "compress", "u.safetensors", "-o", "small.safetensors", *words.split()
    )
    assert (code, err) == (0, "")
    rows = {line[:8].strip(): line[8:].split() for line in out.splitlines()}
    assert rows["kept"][:3] == [str(expected.num_kept), "of", "81"]
    assert rows["neurons"] == [str(expected.explicit().num_neurons)]
    assert rows["error"] == [f"{expected.error:.6g}"]
    assert rows["bound"] == [f"{expected.bound:.6g}"]
    points = random_points(200).T
    found = fe_relu.load("small.safetensors")(points)
    assert np.abs(found - expected(points)).max() <= 1e-12
    inside = points[:, network.mesh.contains(points)]
    gap = np.abs(fe_relu.load("small.safetensors")(inside) - network(inside)).max()
    assert gap <= expected.error * (1 + 1e-12)


#: 200 x 200 cells: lines, vertices, and 13 layers of two neurons per vertex, edge and output.
MANY = 803 + 201**2 + 13 * 2 * (201**2 + (3 * 200**2 + 400) + 1)


@pytest.mark.parametrize(("shape", "neurons"), [((2, 3), None), ((200, 200), MANY)])
def test_info_on_p2_networks(capsys, shape, neurons):
    grid = fe_relu.Grid([0, 0], np.eye(2), shape, "right")
    values = np.random.default_rng(1).standard_normal(grid.refined(2).num_vertices)
    network = fe_relu.P2Network(grid, values, levels=12)
    fe_relu.save(network, "u.safetensors")
    code, out, err = called(capsys, "info", "u.safetensors")
    assert (code, err) == (0, "")
    assert f"{network.error_bound:.6g} from the P2 function" in out
    assert str(neurons or network.explicit().num_neurons) in out


def test_compress_without_a_file_to_write_only_reports(capsys):
    saved()
    wanted = called(capsys, "compress", "u.safetensors", "--tol", 0.5, "-o", "small.npz")
    os.remove("small.npz")
    assert called(capsys, "compress", "u.safetensors", "--tol", 0.5) == wanted
    assert os.listdir() == ["u.safetensors"]


def test_compress_levels(capsys):
    network = saved()
    words = ("u.safetensors", "-o", "small.npz", "--tol", 0.5, "--levels", 1)
    code, out, _ = called(capsys, "compress", *words)
    expected = hierarchical_from_network(network, levels=1).compress(tol=0.5)
    assert code == 0
    assert f"{expected.num_kept} of 81 coefficients = {' + '.join(map(str, expected.kept))}" in out


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pyparsing, in old matplotlib
def test_plot(capsys):
    image = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    saved(components=(2,))
    assert called(capsys, "plot", "u.safetensors", "-o", "u.png") == (0, "", "")
    pixels = image.imread("u.png")
    height, width, _ = pixels.shape
    assert width > 2 * height  # two panels
    assert pixels[:, :, :3].std() > 0.05  # neither is blank
    assert sorted(os.listdir()) == ["u.png", "u.safetensors"]


# Ranks


def test_ranks_share_the_points():
    network = saved(shape=(32, 16), components=(2,), names=["T", "p"])
    mpirun = ("mpirun", "-n", "2", "--oversubscribe", *FE_RELU)
    points = random_points(20_001)
    np.savetxt("points.csv", points, "%.17g", ",", header="x,y", comments="")
    np.save("points.npy", points)
    for path, out in (("points.csv", "v.csv"), ("points.npy", "v.npy")):
        ended = typed("eval", "u.safetensors", path, "-o", out, start=mpirun)
        assert (ended.returncode, ended.stdout) == (0, "")
    assert (np.load("v.npy") == network(points.T).T).all()
    assert (np.loadtxt("v.csv", delimiter=",", skiprows=1) == network(points.T).T).all()
    points[15_000, 1] = np.nan  # the second rank's
    np.save("points.npy", points)
    ended = typed("eval", "u.safetensors", "points.npy", "-o", "v.npy", start=mpirun)
    errors = [line for line in ended.stderr.splitlines() if line.startswith("fe-relu: error: ")]
    assert ended.returncode == 2
    assert len(errors) == 1
    assert errors[0].startswith("fe-relu: error: on rank 1: points.npy: row 15000: the point (")
    assert "Traceback" not in ended.stderr
    assert (np.load("v.npy") == network(random_points(20_001).T).T).all()
    ended = typed("info", "u.safetensors", start=mpirun)
    assert ended.returncode == 0
    assert ended.stdout.count("kind") == 1


ALONE = """
import sys
from fe_relu.cli import commands
from fe_relu.formats import replacing
from fe_relu.cli import main as cli

def evaluate(given, comm):
    if comm.rank == 1:
        raise ValueError("what no other rank knows of")
    comm.barrier()

commands.evaluate = evaluate
sys.exit(cli.main(["eval", "u.safetensors", "points.npy", "-o", "values.npy"]))
"""


def test_a_rank_that_fails_alone_ends_all():
    mpirun = ("mpirun", "-n", "2", "--oversubscribe", sys.executable, "-c")
    ended = typed(ALONE, start=mpirun)
    assert ended.returncode == 2
    assert ended.stderr.count("fe-relu: error: what no other rank knows of\n") == 1
    assert "Traceback" not in ended.stderr


SLOW = """
import sys, time
from fe_relu.cli import launched
from fe_relu.cli import main as cli

def parser(made=cli.parser):
    time.sleep(0.5 * launched.is_first())
    return made()

cli.parser = parser
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("blocked", ["", "import sys; sys.modules['mpi4py'] = None"])
def test_an_error_of_all_ranks_is_told_once(blocked):
    mpirun = ("mpirun", "-n", "2", "--oversubscribe", sys.executable, "-c")
    ended = typed(blocked + SLOW, "dance", start=mpirun)
    assert ended.returncode == 2
    told = [line for line in ended.stderr.splitlines() if line.startswith("fe-relu: error: ")]
    assert len(told) == 1
    assert ("needs mpi4py" if blocked else "invalid choice: 'dance'") in told[0]
