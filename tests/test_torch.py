# SPDX-License-Identifier: MIT
"""Modules give the network's values and gradients, learn what they are to learn, and come back."""

import copy
import io
import itertools
import pickle

import numpy as np
import pytest
import torch
from dolfinx import fem
from test_export import FLOATS, FRAMES, at, everywhere, network_on, p2_on
from test_export import MODULES as MAKES
from test_simplices import mesh_of
from torch import nn
from torch.nn.utils import prune

import fe_relu
from cases import DIAGONALS, around, bound, random_function, rectangle, same_layers
from fe_relu import Affine, P1Network, P2Network, Q1Network, ReLUNetwork, from_torch, to_torch
from fe_relu.hierarchy import hierarchical_from_network
from fe_relu.meshes.quadrilaterals.mesh import QuadrilateralMesh
from runtime import rows, run, without


@pytest.mark.parametrize("make", MAKES)
def test_modules_change_their_type(make, rng):
    network = network_on("rotated", (3, 5), "left_right", rng)
    single = P1Network(network.mesh, network.values.astype(np.float32))
    x = at(network.mesh, everywhere((3, 5), rng)).astype(np.float32)
    module = to_torch(network, **MAKES[make]).float()
    values = run(module, x)
    assert values.dtype == np.float32
    assert (np.abs(values - single(x)) <= bound(network.mesh, x, single.values, np.float32)).all()
    x = x.astype(np.float64)
    error = np.abs(run(module.double(), x) - single(x))
    assert (error <= bound(network.mesh, x, single.values, np.float32)).all()
    if "active" in make:
        with pytest.raises(TypeError, match="float32 or float64"):
            module.half()(torch.zeros(1, 2).half())


def test_points_decide_the_precision_of_active_neurons(rng):
    network = network_on("rotated", (3, 5), "right", rng, dtype=np.float32)
    x = at(network.mesh, everywhere((3, 5), rng))
    values = run(to_torch(network, form="active"), x)
    assert values.dtype == np.float64
    assert (values == network(x)).all()


@pytest.mark.parametrize("make", MAKES)
def test_states_copies_and_pickles_are_the_same_module(make, rng):
    network, other = (network_on("unit", (3, 5), "crossed", rng, outputs=(2,)) for _ in range(2))
    module, target = to_torch(network, **MAKES[make]), to_torch(other, **MAKES[make])
    x = at(network.mesh, everywhere((3, 5), rng))
    expected = run(module, x)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    assert (run(target, x) != expected).any()
    target.load_state_dict(torch.load(file, weights_only=True))
    for again in (target, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert (run(again, x) == expected).all()
    deep = copy.deepcopy(target)
    deep.load_state_dict(to_torch(other, **MAKES[make]).state_dict())
    assert (run(deep, x) == run(to_torch(other, **MAKES[make]), x)).all()
    assert (run(target, x) == expected).all()


#: Options, and which of the parameters in order ask for gradients.
TRAINABLE = [
    ({}, [False] * 6),
    ({"trainable": "output"}, [False] * 4 + [True] * 2),
    ({"trainable": "all"}, [True] * 6),
    ({"trainable": "output", "sparse": True}, [False] * 4 + [True] * 2),
    ({"trainable": "all", "sparse": True}, [True] * 6),
    ({"form": "active"}, []),
    ({"form": "active", "trainable": "output"}, [True]),
]


@pytest.mark.parametrize(("options", "expected"), TRAINABLE)
def test_parameters_of_choice_are_trainable(options, expected, rng):
    module = to_torch(network_on("unit", (2, 2), "right", rng), **options)
    assert [p.requires_grad for p in module.parameters()] == expected


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_derivatives_by_nodal_values_are_the_hats(diagonal, rng):
    network = network_on("rotated", (3, 5), diagonal, rng)
    x = at(network.mesh, everywhere((3, 5), rng))[:, ::7]
    lines, hats, _ = network.explicit().layers
    activations = ReLUNetwork((lines, hats))(x).clip(0).T
    module = to_torch(network, form="active", trainable="output")
    found = [
        torch.autograd.grad(value, module.values, retain_graph=True)[0].numpy()
        for value in module(rows(x))
    ]
    assert np.abs(np.array(found) - activations).max() <= 1e-12


def test_sparse_layers_learn_as_dense_ones_do(rng):
    network = network_on("rotated", (3, 2), "left_right", rng, outputs=(2,))
    x = rows(at(network.mesh, rng.random((2, 50)) * 3)).requires_grad_()
    modules = [to_torch(network, trainable="all", sparse=sparse) for sparse in (False, True)]
    of_points = [torch.autograd.grad(m(x).square().sum(), x)[0] for m in modules]
    assert torch.allclose(*of_points, rtol=1e-10)
    for module in modules:
        module(x).square().sum().backward()
    for one, other in zip(*(module[::2] for module in modules), strict=True):
        rows_, columns = other.indices
        assert torch.allclose(one.weight.grad[rows_, columns], other.weight.grad, rtol=1e-10)
        assert torch.allclose(one.bias.grad, other.bias.grad, rtol=1e-10)


@pytest.mark.parametrize("make", [name for name in MAKES if name != "active"])
def test_what_was_trained_comes_back(make, rng):
    network = network_on("unit", (3, 3), "crossed", rng)
    options = {"trainable": "output"} | MAKES[make]
    module = to_torch(network, **options)
    x = rng.random((2, 400)) * 3
    goal = torch.from_numpy(np.sin(x[0]) * x[1])[:, None]
    optimizer = torch.optim.Adam((p for p in module.parameters() if p.requires_grad), 0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (module(rows(x)) - goal).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    trained = from_torch(module)
    assert isinstance(trained, P1Network if "active" in make else ReLUNetwork)
    y = at(network.mesh, everywhere((3, 3), rng))
    near = np.abs(trained(y) - run(module, y)[0]) <= bound(network.mesh, y, 3)
    assert near.all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_networks_come_back_bit_for_bit(dtype, rng):
    for diagonal, outputs in itertools.product(DIAGONALS, [(), (1,), (2,)]):
        network = network_on("flat", (3, 5), diagonal, rng, outputs=outputs, dtype=dtype)
        for options in ({}, {"sparse": True}, {"trainable": "all"}):
            back = from_torch(to_torch(network, **options))
            assert same_layers(back, network.explicit())
        for trainable in (False, "output"):
            back = from_torch(to_torch(network, form="active", trainable=trainable))
            assert back.mesh == network.mesh
            assert back.values.shape == network.values.shape
            assert back.values.tobytes() == network.values.tobytes()


def of_layers(change):
    """Layers of which the first is changed, and then trained by a step."""
    first = nn.Linear(2, 5)
    module = nn.Sequential(change(first), nn.ReLU(), nn.Linear(5, 3))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    module(torch.ones(4, 2)).square().sum().backward()
    optimizer.step()
    return module


RELU, MIDDLE = nn.ReLU(), nn.Linear(5, 5)

#: Modules from two inputs, with the number of hidden layers.
MODULES = {
    "one layer": (0, lambda: nn.Linear(2, 3)),
    "no bias": (1, lambda: nn.Sequential(nn.Linear(2, 5, bias=False), nn.ReLU(), nn.Linear(5, 3))),
    "nested": (
        2,
        lambda: nn.Sequential(
            nn.Sequential(nn.Flatten(), nn.Linear(2, 5), nn.ReLU()),
            nn.Sequential(nn.Identity(), nn.Sequential(nn.Linear(5, 4), nn.ReLU())),
            nn.Dropout(),
            nn.Linear(4, 3),
        ),
    ),
    "affine maps in a row": (0, lambda: nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 3))),
    "one ReLU and one layer, again and again": (
        3,
        lambda: nn.Sequential(
            nn.Linear(2, 5), RELU, MIDDLE, RELU, nn.Sequential(MIDDLE, RELU), nn.Linear(5, 3)
        ),
    ),
    "parametrized": (1, lambda: of_layers(nn.utils.parametrizations.weight_norm)),
    "spectrally": (1, lambda: of_layers(nn.utils.parametrizations.spectral_norm)),
    "weights computed by a hook": (1, lambda: of_layers(nn.utils.weight_norm)),
    "pruned": (1, lambda: of_layers(lambda m: prune.l1_unstructured(m, "weight", 0.5))),
    "a ReLU at the end": (2, lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.ReLU())),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("case", MODULES)
def test_other_modules_are_read(case, rng):
    torch.manual_seed(1)
    hidden, make = MODULES[case]
    module = make().double()
    x, state = rng.standard_normal((2, 100)), torch.get_rng_state()
    network = from_torch(module)  # as in evaluation, in whatever mode it is
    assert all(part.training for part in module.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert network.hidden_layers == hidden
    assert np.abs(network(x) - run(module.eval(), x)).max() <= 1e-14


def test_half_precision_becomes_single():
    module = nn.Linear(2, 3).to(torch.bfloat16)
    network = from_torch(module)
    assert network.dtype == np.float32
    assert (network.layers[0].bias == module.bias.detach().float().numpy()).all()


class Twice(nn.Sequential):
    """No sequence, although it derives from one."""

    def forward(self, x):
        return super().forward(x) * 2


def changed(how):
    """A module of layers that does something else, in a way that no layer shows."""
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    how(module)
    return module


def changed_active(how):
    network = network_on("far", (2, 3), "left", np.random.default_rng(1))
    module = to_torch(network, form="active")
    how(module)
    return module


NAN = nn.Linear(2, 2)
nn.init.constant_(NAN.weight, np.nan)

REFUSED = {
    "Sigmoid": (nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), r"layer '1' \(Sigmoid\) is no"),
    "nested": (nn.Sequential(nn.Sequential(nn.Tanh())), r"layer '0.0' \(Tanh\)"),
    "derived": (Twice(nn.Linear(2, 2)), r"layer 'module' \(Twice\)"),
    "shapes": (
        nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3)),
        "layer '1'.* takes 2 inputs, but 3",
    ),
    "NaN": (nn.Sequential(NAN), r"layer '0' \(Linear\).*finite"),
    "no weights": (nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), "before any weights"),
    "a hook": (
        changed(lambda m: m[1].register_forward_hook(lambda *_: _[2] + 1e-3)),
        r"the module gives .* where its layers give .*; '1' has hooks",
    ),
    "a hook before": (
        changed(lambda m: m.register_forward_pre_hook(lambda _, x: (2 * x[0],))),
        "'it' has hooks",
    ),
    "another forward": (
        changed(lambda m: setattr(m[0], "forward", lambda x: torch.zeros(len(x), 3))),
        "'0' has a forward of its own",
    ),
    "a batch in a row": (nn.Sequential(nn.Flatten(0), nn.Linear(2, 1)), "cannot be run at points"),
    "active and hooked": (
        changed_active(lambda m: m.register_forward_hook(lambda *_: -_[2])),
        "'it' has hooks",
    ),
    "nothing": (nn.Sequential(), "before any weights"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_relu_network_is_refused_by_name(case):
    module, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        from_torch(module)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_stale_weight_is_seen_wherever_the_mesh_is(frame, rng):
    """Far from 0 a P1 network is 0, and so is a wrong one: points are taken where neurons wake."""
    module = to_torch(network_on(frame, (3, 5), "crossed", rng))
    assert from_torch(module).hidden_layers == 2
    module[4].register_forward_hook(lambda layer, x, u: u * 1.01)
    with pytest.raises(ValueError, match="'4' has hooks"):
        from_torch(module)


def test_what_is_no_module_is_refused(rng):
    with pytest.raises(TypeError, match="takes a torch module, not int"):
        from_torch(3)
    with pytest.raises(ValueError, match="ActiveTable"):
        from_torch(to_torch(p2_on("unit", (1, 1), "right", rng), form="active"))


OPTIONS = [
    ({"form": "dense"}, 'form must be "relu" or "active"'),
    ({"trainable": True}, "trainable must be False"),
    ({"form": "active", "trainable": "all"}, "lines of its mesh"),
    ({"form": "active", "sparse": True}, "leave sparse out"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_bad_options_are_refused_on_every_rank(comm, options, message, rng):
    V = fem.functionspace(rectangle(comm), ("P", 1))
    network = fe_relu.network_from_function(random_function(V, rng), layout="blocks")
    with pytest.raises(ValueError, match=message):
        to_torch(network, **options)


def test_no_random_numbers_are_drawn(rng):
    state = torch.get_rng_state()
    to_torch(network_on("unit", (3, 5), "right", rng), trainable="all")
    assert torch.equal(torch.get_rng_state(), state)


def test_networks_of_layers_become_modules(rng):
    layers = (Affine(rng.standard_normal((4, 3)), np.ones(4)), Affine(np.ones((2, 4)), np.ones(2)))
    network = ReLUNetwork(layers)
    x = rng.standard_normal((3, 20))
    for options in ({}, {"sparse": True}):
        assert run(to_torch(network, **options), x) == pytest.approx(network(x), rel=1e-12)
    with pytest.raises(ValueError, match=r'a ReLUNetwork has no form="active"'):
        to_torch(network, form="active")
    with pytest.raises(ValueError, match='a P2Network cannot be trained; form="relu"'):
        to_torch(p2_on("unit", (1, 1), "right", rng), form="active", trainable="output")


LOADER = """
import numpy as np, torch
for k in range(7):
    x = torch.from_numpy(np.load(f"x{k}.npy"))
    np.save(f"u{k}.npy", torch.export.load(f"{k}.pt2").module()(x).detach().numpy())
"""


def test_active_forms_are_exported_compiled_and_run_without_this_package(
    tmp_path, monkeypatch, rng
):
    """Any batch, the same bits."""
    monkeypatch.chdir(tmp_path)
    surrogate = hierarchical_from_network(network_on("rotated", (8, 4), "left", rng))
    holes, graded, cubes = (mesh_of(name) for name in ("holes", "graded", "cubes"))
    bent = QuadrilateralMesh([[0, 1, 0, 1.2], [0, 0, 1, 1.1]], [[0], [1], [2], [3]])
    expected = []
    for k, (network, trainable) in enumerate(
        [
            (network_on("rotated", (3, 5), "left_right", rng, outputs=(2,)), "output"),
            (p2_on("unit", (2, 3), "crossed", rng), False),
            (surrogate.compress(max_neurons=30), False),
            (P1Network(holes, rng.standard_normal((2, holes.num_vertices))), "output"),
            (P1Network(graded, rng.standard_normal(graded.num_vertices)), False),
            (P2Network(cubes, rng.standard_normal(cubes.nodes.num_vertices)), False),
            (Q1Network(bent, rng.standard_normal(bent.num_vertices)), False),
        ]
    ):
        module = to_torch(network, form="active", trainable=trainable)
        x = rows(np.hstack([around(network.mesh, rng), network.mesh.vertices()]))
        batch = ({0: torch.export.Dim("n")},)
        exported = torch.export.export(module, (x[:7],), dynamic_shapes=batch)
        torch.export.save(exported, f"{k}.pt2")
        np.save(f"x{k}.npy", x)
        expected.append(module(x).detach().numpy())
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        assert compiled(x).detach().numpy().tobytes() == expected[k].tobytes()
    without("fe_relu", LOADER)
    assert all(np.load(f"u{k}.npy").tobytes() == u.tobytes() for k, u in enumerate(expected))


def test_a_missing_torch_is_named_with_its_packages():
    code = """
import fe_relu, numpy as np
network = fe_relu.P1Network(fe_relu.Grid((0, 0), np.eye(2), (1, 1), "right"), np.ones(4))
for call in (lambda: fe_relu.to_torch(network), lambda: fe_relu.from_torch(network)):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    remedy = "needs torch: pip install torch, or on Debian apt install python3-torch"
    assert without("torch", code).splitlines() == [f"to_torch {remedy}", f"from_torch {remedy}"]
