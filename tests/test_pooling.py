"""Products of two neurons: Q1 and P2 functions exactly, their algebra, files and the way back."""

import numpy as np
import pytest
from dolfinx import fem, mesh
from numpy.testing import assert_allclose

import fe_relu
from cases import random_function
from fe_relu import Affine, Pooling, PoolingNetwork, ReLUNetwork
from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid
from fe_relu.meshes.quadrilaterals.mesh import QuadrilateralMesh
from fe_relu.meshes.simplices.mesh import SimplexMesh

AXES = np.array([[0.3, 0.1], [-0.1, 0.4]])


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def identity(dim):
    return Affine(np.eye(dim), np.zeros(dim))


def pooled(kind, pairs, dim):
    return PoolingNetwork((identity(dim), Pooling(pairs, dim, kind), identity(np.shape(pairs)[1])))


def q1(rng, shape=(7, 5), outputs=2, dtype=np.float64):
    grid = QuadrilateralGrid((2, 1), AXES, shape)
    return fe_relu.Q1Network(grid, rng.standard_normal((outputs, grid.num_vertices)).astype(dtype))


def around(mesh, rng, count=500):
    low, high = mesh.vertices().min(axis=1), mesh.vertices().max(axis=1)
    wide = (high - low)[:, None]
    return low[:, None] + wide * rng.uniform(-0.5, 1.5, (mesh.dim, count))


def delaunay(rng):
    from scipy.spatial import Delaunay

    points = rng.random((40, 2))
    return SimplexMesh(points.T, Delaunay(points).simplices.T)


def quadratics(rng):
    """P2 networks on each kind of mesh that has hats."""
    line = SimplexMesh([[0.0, 0.4, 0.5, 2.0]], [[0, 1, 2], [1, 2, 3]])
    grids = [fe_relu.Grid((2, 1), AXES, (3, 2), d) for d in ("left", "crossed", "right_left")]
    for known in (*grids, delaunay(rng), line):
        values = rng.standard_normal((2, known.refined(2).num_vertices))
        yield fe_relu.P2Network(known, values, levels=26)


# The functions


def test_a_q1_function_is_products_of_hats_everywhere(rng):
    for shape in ((1, 1), (7, 5), (2, 9)):
        network = q1(rng, shape)
        layers = network.explicit()
        nx, ny = shape
        lines, vertices = nx + ny + 2, (nx + 1) * (ny + 1)
        assert layers.widths == (2, 2 * lines, lines, lines, vertices, 2)
        assert layers.num_products == vertices
        x = around(network.mesh, rng, 2000)
        inside = network(x)[0] != 0
        assert inside.any()
        assert not inside.all()
        assert_allclose(layers(x), network(x), atol=1e-13)
        assert not layers([[1e3, -1e3], [50.0, 7.0]]).any()
        assert (layers.last.weight.toarray() == network.values).all()


def test_a_q1_function_in_exact_numbers():
    """On the lattice of whole numbers every operation is exact: x y at quarters."""
    grid = QuadrilateralGrid((0, 0), np.eye(2), (4, 3))
    x, y = grid.vertices()
    layers = fe_relu.Q1Network(grid, x * y).explicit()
    s, t = (part.ravel() / 4 for part in np.meshgrid(np.arange(17), np.arange(13)))
    assert (layers([s, t]) == s * t).all()


def test_only_lattices_of_quadrilaterals_have_layers():
    bent = QuadrilateralMesh([[0, 1, 0, 1.2], [0, 0, 1, 1.1]], [[0], [1], [2], [3]])
    network = fe_relu.Q1Network(bent, np.ones(4))
    with pytest.raises(ValueError, match="no parallelograms of a lattice"):
        network.explicit()


def test_a_p2_function_is_products_of_hats_exactly(rng):
    """Everywhere, against the network of depth 26, whose products are off by roundoff."""
    for network in quadratics(rng):
        exact = network.pooling()
        nodes = network.node_mesh
        assert exact.num_products == nodes.num_vertices
        x = around(network.mesh, rng)
        assert_allclose(exact(x), network(x), atol=1e-12)
        at_nodes = network.mesh.refined(2).vertices()
        assert_allclose(exact(at_nodes), network.values, atol=1e-12)


def test_a_quadratic_polynomial_comes_out_of_p2(rng):
    grid = fe_relu.Grid((0, 0), np.eye(2) / 3, (3, 3), "left_right")

    def polynomial(x):
        return 1 + x[0] - 2 * x[1] + 3 * x[0] ** 2 - x[0] * x[1] + x[1] ** 2

    network = fe_relu.P2Network(grid, polynomial(grid.refined(2).vertices()), levels=1)
    x = rng.random((2, 300))
    assert_allclose(network.pooling()(x), polynomial(x), atol=1e-13)
    assert np.abs(network(x) - polynomial(x)).max() > 1e-3  # as deep as it is


# The algebra


def test_the_algebra_takes_relus_products_and_maxima(rng):
    relu = ReLUNetwork((Affine(rng.standard_normal((4, 2)), rng.standard_normal(4)), identity(4)))
    products = pooled("product", [[0, 0, 1], [1, 0, 1]], 2)
    maxima = pooled("maximum", [[0], [1]], 2)
    deep = fe_relu.deep.maximum_network(4) @ relu
    mixed = maxima @ ReLUNetwork((Affine(rng.standard_normal((2, 4)), np.ones(2)),)) @ relu
    x = rng.standard_normal((2, 200))
    both = fe_relu.concatenate([relu, products, maxima, deep, mixed])
    parts = [np.atleast_2d(each(x)) for each in (relu, products, maxima, deep, mixed)]
    assert isinstance(both, PoolingNetwork)
    assert_allclose(both(x), np.vstack(parts), atol=1e-13)
    for one, other in ((maxima, deep), (deep, maxima), (mixed, maxima), (mixed, mixed)):
        assert_allclose((one + other)(x), one(x) + other(x), atol=1e-13)
        assert_allclose((one - 2 * other)(x), one(x) - 2 * other(x), atol=1e-13)
    assert_allclose((-mixed)(x), -mixed(x), atol=0)
    assert_allclose(products(x), [x[0] * x[1], x[0] ** 2, x[1] ** 2])
    assert_allclose(maxima(x), x.max(axis=0))
    chained = pooled("product", [[0], [2]], 3) @ products
    assert_allclose(chained(x), x[0] * x[1] ** 3, rtol=1e-14)


def test_what_passes_by_a_product_keeps_its_bits(rng):
    line = ReLUNetwork((Affine([[1.0, 0.0]], [0.0]),))
    both = fe_relu.concatenate([line, pooled("product", [[0], [1]], 2)])
    x = rng.standard_normal((2, 100))
    assert (both(x)[0] == x[0]).all()


def test_networks_of_affine_maps_stay_relu_networks():
    relu = ReLUNetwork((identity(2), identity(2)))
    assert type(relu + relu) is ReLUNetwork
    assert type(relu @ relu) is ReLUNetwork
    with pytest.raises(TypeError, match="PoolingNetwork"):
        ReLUNetwork(pooled("product", [[0], [1]], 2).layers)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda p, a: (p,), "between two affine"),
        (lambda p, a: (a, p), "between two affine"),
        (lambda p, a: (a, p, p, a), "between two affine"),
        (lambda p, a: (identity(3), p, a), "layer 0 has 3 outputs"),
        (lambda p, a: (), "at least one"),
    ],
)
def test_refused_layers(layers, message):
    pooling = Pooling([[0, 1], [1, 0]], 2)
    with pytest.raises(ValueError, match=message):
        PoolingNetwork(layers(pooling, identity(2)))


@pytest.mark.parametrize(
    ("pairs", "kind", "error", "message"),
    [
        ([[0], [2]], "product", ValueError, "numbers 0 to 1, not 0 to 2"),
        ([[-1], [0]], "product", ValueError, "not -1 to 0"),
        ([0, 1], "product", ValueError, "shape"),
        ([[0.0], [1.0]], "product", TypeError, "integers"),
        ([[0], [1]], "mean", ValueError, "'product' or 'maximum'"),
    ],
)
def test_refused_poolings(pairs, kind, error, message):
    with pytest.raises(error, match=message):
        Pooling(pairs, 2, kind)


# Bounds and roundoff


def test_bounds_enclose_the_values(rng):
    network = q1(rng)
    layers = network.explicit()
    box = ((2, 3), (1, 2.5))
    found = fe_relu.bounds(layers, box)
    values = layers(np.array([[2], [1]]) + np.array([[1], [1.5]]) * rng.random((2, 5000)))
    assert not found.exact
    assert (found.lower <= values.min(axis=1)).all()
    assert (values.max(axis=1) <= found.upper).all()
    assert [len(low) for low, _ in found.layers] == list(layers.hidden_widths)
    maxima = pooled("maximum", [[0], [1]], 2)
    found = fe_relu.bounds(maxima, ((-1, 2), (0, 1)))
    assert_allclose([found.lower[0], found.upper[0]], [0, 2], atol=1e-6)


# What else is asked of networks


def test_questions_about_linear_regions_are_refused(rng):
    network = q1(rng)
    for each in (network, network.explicit()):
        with pytest.raises(TypeError, match="products bend everywhere"):
            fe_relu.linear_regions(each, ((2, 3), (1, 2)))
        with pytest.raises(ValueError, match="products is beyond"):
            fe_relu.size_report(each)


def test_hidden_layers_as_matrices(rng):
    network = q1(rng, outputs=1)
    layers = network.explicit()
    x = around(network.mesh, rng, 30)
    last = fe_relu.interpolation_matrix(network, network.mesh.vertices())
    assert (last.toarray() == np.eye(network.mesh.num_vertices)).all()
    products = fe_relu.interpolation_matrix(layers, x)
    assert products.shape == (30, network.mesh.num_vertices)
    assert_allclose(products @ network.values[0], network(x), atol=1e-13)
    hats = fe_relu.interpolation_matrix(network, x, layer=1)
    assert hats.shape == (30, 14)
    assert (hats.toarray() <= 1 + 1e-12).all()
    found = fe_relu.activation_statistics(network, network.mesh.vertices())
    assert found.widths == (28, 14, 48)
    assert found.mean[2] <= 4


# Files and other libraries


def networks(rng):
    relu = ReLUNetwork((Affine(rng.standard_normal((4, 2)), rng.standard_normal(4)), identity(4)))
    yield q1(rng).explicit()
    yield next(iter(quadratics(rng))).pooling()
    yield pooled("maximum", [[0, 3], [1, 2]], 4) @ relu
    yield fe_relu.concatenate([q1(rng).explicit(), pooled("maximum", [[0], [1]], 2), relu])


def test_files(rng, tmp_path):
    for network in networks(rng):
        path = tmp_path / "network.safetensors"
        fe_relu.save(network, path)
        found = fe_relu.load(path)
        assert type(found) is PoolingNetwork
        x = rng.uniform(-1, 4, (2, 50))
        assert (found(x) == network(x)).all()
        for one, other in zip(found.layers, network.layers, strict=True):
            assert type(one) is type(other)


def test_onnx(rng, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = str(tmp_path / "network.onnx")
    for dtype, tolerance in ((None, 1e-12), ("float32", 1e-4)):
        for network in networks(rng):
            fe_relu.to_onnx(network, path, dtype=dtype)
            found = fe_relu.from_onnx(path)
            x = rng.uniform(-1, 4, (2, 50)).astype(found.dtype)
            assert found.widths == network.widths
            assert_allclose(found(x), network(x), atol=tolerance)
            (values,) = runtime.InferenceSession(path).run(None, {"x": x.T.copy()})
            assert_allclose(values.T, network(x), atol=tolerance)


def test_onnx_refuses_products_that_are_no_pairs(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx import TensorProto, helper

    def model(*nodes, **arrays):
        rows = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])]
        out = [helper.make_tensor_value_info("u", TensorProto.FLOAT, ["n", None])]
        tensors = [onnx.numpy_helper.from_array(np.array(a), name) for name, a in arrays.items()]
        graph = helper.make_graph(list(nodes), "g", rows, out, tensors)
        path = str(tmp_path / "model.onnx")
        onnx.save(helper.make_model(graph), path)
        return path

    node = helper.make_node
    square = model(node("Mul", ["x", "x"], ["u"]))
    with pytest.raises(fe_relu.FileFormatError, match="two Gather"):
        fe_relu.from_onnx(square)
    chosen = [node("Gather", ["x", k], [k + "x"], axis=1) for k in "ij"]
    uneven = model(*chosen, node("Mul", ["ix", "jx"], ["u"]), i=[0, 1], j=[1])
    with pytest.raises(fe_relu.FileFormatError, match="pairs 2 components with 1"):
        fe_relu.from_onnx(uneven)
    beyond = model(*chosen, node("Mul", ["ix", "jx"], ["u"]), i=[0], j=[1 << 40])
    with pytest.raises(fe_relu.FileFormatError, match="numbers 0 to 1"):
        fe_relu.from_onnx(beyond)
    fine = model(*chosen, node("Max", ["ix", "jx"], ["u"]), i=[0], j=[1])
    assert fe_relu.from_onnx(fine)([[1.0], [2.0]])[0] == 2


def test_torch(rng):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for network in networks(rng):
        for sparse in (False, True):
            module = fe_relu.to_torch(network, sparse=sparse)
            x = torch.from_numpy(rng.uniform(-1, 4, (50, 2)))
            assert_allclose(module(x).detach().numpy().T, network(x.numpy().T), atol=1e-12)
            found = fe_relu.from_torch(module)
            assert found.widths == network.widths
            assert_allclose(found(x.numpy().T), network(x.numpy().T), atol=1e-12)


def test_a_product_is_trained_by_torch(rng):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = fe_relu.to_torch(pooled("product", [[0], [1]], 2), trainable="all")
    x = torch.tensor([[3.0, 5.0]], dtype=torch.float64, requires_grad=True)
    module(x).backward()
    assert x.grad.tolist() == [[5.0, 3.0]]
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_a_damaged_file_is_refused(rng, tmp_path):
    """Pairs out of range, and of another length."""
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "network.safetensors"
    fe_relu.save(q1(rng).explicit(), path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    for change in (lambda pairs: pairs + 100, lambda pairs: pairs[:, :-1].copy()):
        arrays = load_file(path)
        arrays["layers.3.product"] = change(arrays["layers.3.product"])
        other = tmp_path / "other.safetensors"
        save_file(arrays, other, metadata)
        with pytest.raises(fe_relu.FileFormatError):
            fe_relu.load(other)


# Back to dolfinx


@pytest.mark.parametrize("components", [1, 2])
def test_the_way_back_keeps_every_bit(comm, components):
    shape = (components,) if components > 1 else ()
    for cell, family, layers in (
        (mesh.CellType.quadrilateral, "Q", lambda network: network.explicit()),
        (mesh.CellType.triangle, "P", lambda network: network.pooling()),
    ):
        degree = 1 if family == "Q" else 2
        msh = mesh.create_rectangle(comm, [[0.0, 1.0], [3.0, 2.0]], (5, 4), cell)
        V = fem.functionspace(msh, (family, degree, shape))
        u = random_function(V, np.random.default_rng(3))
        for structured in (True, False):
            if family == "Q" and not structured:
                continue  # cells of no lattice have no layers
            network = fe_relu.Conversion(V, structured=structured)(u)
            back, certificate = fe_relu.function_from_network(layers(network), V)
            assert (back.x.array == u.x.array).all()
            assert certificate.exact
            assert certificate.upper <= 1e-11


def test_other_layers_are_interpolated(comm):
    """The mesh is another, a line has moved, or there is a bias: nothing is proven."""
    msh = mesh.create_unit_square(comm, 5, 4, mesh.CellType.quadrilateral)
    other = mesh.create_unit_square(comm, 4, 5, mesh.CellType.quadrilateral)
    u = random_function(fem.functionspace(msh, ("Q", 1)), np.random.default_rng(3))
    exact = fe_relu.network_from_function(u).explicit()
    first, *rest = exact.layers
    moved = PoolingNetwork((Affine(first.weight, first.bias + 1e-3), *rest))
    lifted = exact + ReLUNetwork((Affine(np.zeros((1, 2)), [1.0]),))
    W = fem.functionspace(other, ("Q", 1))
    for network, V in ((exact, W), (moved, u.function_space), (lifted, u.function_space)):
        back, certificate = fe_relu.function_from_network(network, V)
        nodes = V.tabulate_dof_coordinates()[:, :2].T
        assert_allclose(back.x.array, network(nodes), atol=1e-14)
        assert certificate.upper == np.inf


@pytest.mark.parametrize("rows", [1, 3])
def test_a_pooling_takes_as_many_rows_as_it_says(rows):
    with pytest.raises(ValueError, match=f"takes 2 rows, not {rows}"):
        fe_relu.Pooling([[0], [1]], 2)(np.ones((rows, 4)))
    with pytest.raises(ValueError, match="takes 2 rows, not 0"):
        fe_relu.Pooling([[0], [1]], 2)(np.float64(3))
    assert fe_relu.Pooling([[0], [1]], 2)([[2.0], [3.0]]) == 6


def test_a_kind_is_a_word():
    with pytest.raises(ValueError, match="kind must be"):
        fe_relu.Pooling([[0], [1]], 2, ["product"])


def test_bounds_of_products_are_as_wide_as_the_roundoff_of_the_type():
    for dtype in (np.float32, np.float64):
        one = fe_relu.Affine(np.eye(2, dtype=dtype), np.zeros(2, dtype))
        last = fe_relu.Affine(np.eye(1, dtype=dtype), np.zeros(1, dtype))
        found = fe_relu.bounds(
            fe_relu.PoolingNetwork((one, fe_relu.Pooling([[0], [1]], 2), last)), ((1, 2), (1, 3))
        )
        assert 6 <= found.upper[0] <= 6 * (1 + 20 * np.finfo(dtype).eps)
        assert 1 >= found.lower[0] >= 1 - 40 * np.finfo(dtype).eps
