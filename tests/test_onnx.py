# SPDX-License-Identifier: MIT
"""What ONNX files say of themselves, and how they are written."""

import itertools
import json
import os

import numpy as np
import pytest
from dolfinx import fem
from test_export import FLOATS, at, everywhere, network_on, p2_on

import fe_relu
from cases import DIAGONALS, random_function, rectangle, same_layers
from fe_relu import Affine, P1Network, ReLUNetwork, from_onnx, to_onnx
from fe_relu.formats import onnx_graph
from fe_relu.hierarchy import hierarchical_from_network
from runtime import run_file, session, silent_stderr, without

with silent_stderr():
    import onnx
    from onnx import TensorProto, helper

FORMS = ("relu", "active")


@pytest.fixture
def shared_path(comm, tmp_path):
    """A file that all ranks see."""
    return comm.bcast(tmp_path) / "u.onnx"


def test_relu_form_is_plain_gemm_and_relu(tmp_path, rng):
    network = network_on("rotated", (3, 5), "left_right", rng, dtype=np.float32)
    to_onnx(network, tmp_path / "u.onnx", metadata={"bounds": "[-1, 1]"})
    model = onnx.load(tmp_path / "u.onnx")
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu"] * 2 + ["Gemm"]
    for node in model.graph.node[::2]:
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        assert settings == {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
    assert [entry.version for entry in model.opset_import] == [15]
    (x,), (u,) = model.graph.input, model.graph.output
    for value, name, width in ((x, "x", 2), (u, "u", 1)):
        rows, columns = value.type.tensor_type.shape.dim
        assert (value.name, rows.dim_param, columns.dim_value) == (name, "n", width)
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.parametrize("form", FORMS)
def test_metadata_describe_the_network(tmp_path, form, rng):
    network = network_on("rotated", (3, 5), "crossed", rng, outputs=(2,))
    to_onnx(network, tmp_path / "u.onnx", form=form, metadata={"units": "K"})
    model = onnx.load(tmp_path / "u.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert "bounds" in facts
    del facts["bounds"]
    assert fe_relu.Grid(**json.loads(facts.pop("grid"))) == network.mesh
    assert json.loads(facts.pop("names")) == {"inputs": ["x", "y"], "outputs": ["u0", "u1"]}
    version = fe_relu.__version__
    assert facts == {
        "producer": f"fe_relu {version}",
        "kind": "P1Network",
        "form": form,
        "dtype": "float64",
        "units": "K",
    }
    assert (model.producer_name, model.producer_version) == ("fe_relu", version)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_layers_come_back_bit_for_bit(tmp_path, diagonal, rng):
    for dtype in FLOATS:
        network = network_on("flat", (3, 5), diagonal, rng, outputs=(2,), dtype=dtype).explicit()
        to_onnx(network, tmp_path / "u.onnx")
        assert same_layers(from_onnx(tmp_path / "u.onnx"), network)


def test_any_network_of_layers_is_written(tmp_path, rng):
    affine = Affine(rng.standard_normal((3, 4)), rng.standard_normal(3))
    deep = ReLUNetwork((affine, Affine(rng.standard_normal((4, 3)), np.ones(4)), affine))
    for network in (ReLUNetwork((affine,)), deep):
        to_onnx(network, tmp_path / "u.onnx")
        x = rng.standard_normal((4, 7))
        assert run_file(tmp_path / "u.onnx", x) == pytest.approx(network(x), rel=1e-12)


def test_large_tables_go_to_a_second_file(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(onnx_graph, "EMBEDDED_BYTES", 1000)
    path = tmp_path / "u.onnx"
    for outputs in [(), (3,), ()]:
        network = network_on("rotated", (60, 50), "crossed", rng, outputs=outputs)
        to_onnx(network, path, form="active")
        model, table = sorted(tmp_path.iterdir(), key=lambda file: len(file.name))
        assert model == path
        assert table.name.startswith("u.onnx.")
        assert model.stat().st_size < 10_000
        x = at(network.mesh, everywhere((60, 50), rng))
        assert (run_file(path, x) == np.atleast_2d(network(x))).all()
    monkeypatch.setattr(onnx_graph, "EMBEDDED_BYTES", 1 << 30)
    to_onnx(network, path, form="active")
    assert list(tmp_path.iterdir()) == [path]


def test_only_tables_of_the_same_model_are_removed(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(onnx_graph, "EMBEDDED_BYTES", 1000)
    network = network_on("unit", (60, 50), "right", rng)
    for name in ("b.onnx", "[ab].onnx", "*.onnx", "*.onnx", "[ab].onnx"):
        to_onnx(network, tmp_path / name, form="active")
    tables = sorted(file.name[:-21] for file in tmp_path.iterdir() if file.suffix == ".data")
    assert tables == ["*.onnx.", "[ab].onnx.", "b.onnx."]
    network = network_on("unit", (60, 50), "left", rng)
    to_onnx(network, tmp_path / "[ab].onnx", form="active")
    assert len(list(tmp_path.iterdir())) == 6


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, rng):
    path = tmp_path / "u.onnx"
    network = network_on("unit", (2, 2), "right", rng)
    to_onnx(network, path)
    old = path.read_bytes()

    def fails(_):
        raise OSError("no space left")

    monkeypatch.setattr(onnx_graph.os, "fsync", fails)
    with pytest.raises(OSError, match="no space left"):
        to_onnx(network, path, form="active")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == old


def test_files_have_the_mode_that_others_would_have(tmp_path, rng):
    to_onnx(network_on("unit", (1, 1), "right", rng), tmp_path / "u.onnx")
    (tmp_path / "other").touch()
    assert (tmp_path / "u.onnx").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("layout", ["replicated", "blocks"])
def test_errors_are_raised_on_every_rank(comm, shared_path, layout, rng):
    V = fem.functionspace(rectangle(comm, "right", (6, 4)), ("P", 1))
    network = fe_relu.network_from_function(random_function(V, rng), layout=layout)
    with pytest.raises(ValueError, match=r'form must be "relu" or "active", not "?\'?dense'):
        to_onnx(network, shared_path, form="dense")
    with pytest.raises(OSError, match="missing"):
        to_onnx(network, shared_path.parent / "missing" / "u.onnx")
    comm.barrier()
    assert not shared_path.exists()


def test_what_is_no_network_is_refused(tmp_path, rng):
    with pytest.raises(TypeError, match="ndarray is not a network"):
        to_onnx(np.zeros(3), tmp_path / "u.onnx")
    layers = network_on("unit", (1, 1), "right", rng).explicit()
    with pytest.raises(ValueError, match=r'a ReLUNetwork has no form="active"'):
        to_onnx(layers, tmp_path / "u.onnx", form="active")


def test_a_missing_onnx_is_named_with_its_packages():
    code = """
import fe_relu, numpy as np
network = fe_relu.P1Network(fe_relu.Grid((0, 0), np.eye(2), (1, 1), "right"), np.ones(4))
for call in (lambda: fe_relu.to_onnx(network, "u"), lambda: fe_relu.from_onnx("u")):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    said = without("onnx", code).splitlines()
    remedy = "needs onnx: pip install onnx, or on Debian apt install python3-onnx"
    assert said == [f"to_onnx {remedy}", f"from_onnx {remedy}"]


def test_an_empty_batch_has_no_values(tmp_path, rng):
    for form in FORMS:
        to_onnx(network_on("unit", (1, 1), "right", rng), tmp_path / "u.onnx", form=form)
        assert run_file(tmp_path / "u.onnx", np.empty((2, 0))).shape == (1, 0)


def test_paths_may_be_text(tmp_path, rng):
    path = os.fspath(tmp_path / "u.onnx")
    to_onnx(network_on("unit", (1, 1), "right", rng), path)
    assert from_onnx(path).hidden_layers == 2
    assert session(path).get_modelmeta().custom_metadata_map["kind"] == "P1Network"


def test_importing_fe_relu_imports_no_third_party_of_the_edge():
    code = "import fe_relu; print({'onnx', 'torch', 'dolfinx', 'mpi4py'} & set(sys.modules))"
    assert without("onnx", f"del sys.modules['onnx']; {code}").strip() == "set()"


@pytest.mark.parametrize("levels", [0, 3, 10])
def test_deep_networks_are_written_and_read(tmp_path, levels, rng):
    for network in (fe_relu.deep.square_network(levels), fe_relu.deep.product_network(levels)):
        to_onnx(network, tmp_path / "u.onnx")
        x = rng.random((network.dim_in, 500))
        assert np.abs(run_file(tmp_path / "u.onnx", x) - network(x)).max() <= 1e-12
        assert same_layers(from_onnx(tmp_path / "u.onnx"), network)


def bounds_in(path):
    return json.loads(session(path).get_modelmeta().custom_metadata_map["bounds"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("frame", ["unit", "rotated", "far"])
def test_bounds_in_the_metadata_enclose_what_the_file_computes(tmp_path, frame, dtype, rng):
    """Over the smallest box around the mesh, in the file's own numbers, and by little more."""
    path = tmp_path / "u.onnx"
    for diagonal, form in itertools.product(DIAGONALS, FORMS):
        network = network_on(frame, (3, 5), diagonal, rng, outputs=(2,))
        to_onnx(network, path, form=form, dtype=dtype)
        facts, outline = bounds_in(path), network.mesh.outline
        box = np.array(facts["region"]["box"])
        assert (box == np.array([outline.min(axis=1), outline.max(axis=1)]).T).all()
        corners = np.array(list(itertools.product(*box))).T
        x = np.hstack(
            [corners, network.mesh.vertices(), box[:, :1] + np.diff(box) * rng.random((2, 500))]
        )
        x = x.clip(*box.T[:, :, None]).astype(dtype)
        exact = fe_relu.bounds(network, box)
        lower, upper = np.array(facts["outputs"])
        values = run_file(path, x)
        assert (values >= np.c_[lower]).all()
        assert (values <= np.c_[upper]).all()
        units = 1e-7 if dtype == "float32" else 2e-16
        near = 1e4 * units * network.size * (2e4 if frame == "far" else 1)
        assert lower == pytest.approx(exact.lower, abs=near)
        assert upper == pytest.approx(exact.upper, abs=near)
        assert facts["exact"] is True
        layers = from_onnx(path).layers[:-1] if form == "relu" else ()
        for layer, (low, high) in zip(layers, facts["neurons"], strict=True):
            x = layer(x)
            assert (x >= np.c_[low]).all()
            assert (x <= np.c_[high]).all()
            x = x.clip(0)


def test_bounds_that_are_given_are_labelled_with_their_region(tmp_path, rng):
    network, path = network_on("rotated", (3, 5), "crossed", rng), tmp_path / "u.onnx"
    outline, box = network.mesh.outline, [[0.0, 1.0], [0.0, 2.0]]
    around = np.array([outline.min(axis=1), outline.max(axis=1)]).T.tolist()
    for given, expected in (
        (fe_relu.bounds(network, box), {"box": box}),
        (fe_relu.bounds(network), {"box": around, "outline": outline.T.tolist()}),
    ):
        for exported in (network, network.explicit()):
            to_onnx(exported, path, bounds=given)
            found = bounds_in(path)
            assert found["region"] == expected
            assert found["outputs"][1] == pytest.approx(given.upper, abs=1e-9)
    other = network_on("unit", (2, 2), "right", rng)
    with pytest.raises(ValueError, match="bounds are of other layers"):
        to_onnx(network, path, bounds=fe_relu.bounds(other))


@pytest.mark.parametrize("form", FORMS)
def test_numbers_are_rounded_to_the_dtype_asked_for(tmp_path, form, rng):
    """As if the network had been of that dtype; what does not fit is refused on every rank."""
    network, path = network_on("rotated", (3, 5), "left", rng), tmp_path / "u.onnx"
    single = P1Network(network.mesh, network.values.astype(np.float32))
    to_onnx(single, path, form=form)
    expected = path.read_bytes()
    to_onnx(network, path, form=form, dtype="float32")
    assert path.read_bytes() == expected
    kinds = [network.explicit(), hierarchical_from_network(network, levels=0).compress(tol=1e-9)]
    for other in [*kinds[: form == "relu"], kinds[1]]:
        to_onnx(other, path, form=form, dtype="float32")
        x = network.mesh.vertices().astype(np.float32)
        assert np.abs(run_file(path, x) - other(x)).max() < 1e-4
    with pytest.raises(ValueError, match=r"1e\+300 is more than float32 can hold"):
        to_onnx(P1Network(network.mesh, 1e300 + 0 * network.values), path, dtype="float32")
    with pytest.raises(ValueError, match='dtype must be "float32" or "float64"'):
        to_onnx(network, path, dtype="half")


def test_active_forms_use_operators_that_all_readers_know(tmp_path, rng):
    for network in (network_on("unit", (2, 2), "crossed", rng), p2_on("unit", (2, 2), "left", rng)):
        to_onnx(network, tmp_path / "u.onnx", form="active")
        used = {node.op_type for node in onnx.load(tmp_path / "u.onnx").graph.node}
        assert not used & {"GreaterOrEqual", "LessOrEqual", "Floor", "Round", "GatherND"}


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_the_circle_closes(comm, shared_path, diagonal, rng):
    """Function → file → raw weights → mesh and function."""
    V = fem.functionspace(rectangle(comm, diagonal, (5, 3), "shifted"), ("P", 1))
    u = random_function(V, rng)
    network = fe_relu.network_from_function(u)
    to_onnx(network, shared_path)
    found = fe_relu.p1_from_relu(from_onnx(shared_path))
    back, certificate = fe_relu.function_from_network(found, V)
    assert certificate.exact
    owned = slice(V.dofmap.index_map.size_local)
    assert (back.x.array[owned] == u.x.array[owned]).all()
