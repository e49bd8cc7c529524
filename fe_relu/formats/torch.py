# SPDX-License-Identifier: MIT
"""Networks as torch modules, to be trained further or differentiated, and modules as networks."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse as scipy_sparse

from fe_relu.analysis.probes import probes, values_and_roundoff
from fe_relu.basics.refusals import needed
from fe_relu.formats.forms import Form, check_form, dense_layers, layers_of, pieces
from fe_relu.layers.affine import Affine
from fe_relu.layers.chain import Chain, Room
from fe_relu.layers.network import LayeredNetwork, PoolingNetwork, ReLUNetwork
from fe_relu.layers.pooling import Pooling
from fe_relu.meshes.active import Piece
from fe_relu.networks.nodal import layout_of, whole_of
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.q1 import LINEAR, Q1Network
from fe_relu.parallel.agreement import together

if TYPE_CHECKING:
    import torch

Trainable = Literal[False, "output", "all"]


def to_torch(
    network: Any, *, form: Form = "relu", trainable: Trainable = False, sparse: bool = False
) -> torch.nn.Module:
    """The network as a module from x (n, dim) to u (n, k), of the network's dtype, on the CPU.

    Both forms are the network everywhere, outside its mesh too. "relu" is a `torch.nn.Sequential`
    of `Linear` and `ReLU`, and of `fe_relu.formats.torch_modules.Pool` where there are products or
    maxima. "active" looks up the few nodal values that count at a point, on any
    mesh of any size; its derivative by x is `network.gradient`, on edges and vertices too, and
    points that are NaN or infinite give NaN.

    Collective if the network's values are spread in blocks: every rank gets the whole.

    Args:
        network: A `P1Network`, a `ReLUNetwork`, or another network of this package.
        form: "relu" or "active".
        trainable: Which parameters ask for gradients: none, those of the output layer ("output",
            the nodal values), or "all" of "relu", lines and hats too.
        sparse: Store and train non-zero weights only, for "relu":
            `fe_relu.formats.torch_modules.SparseLinear` instead of `Linear`.

    Raises:
        ImportError: torch is not installed.
        ValueError: An option is another, or not one of this network; or dense layers are too large.
        TypeError: This is no network.

    Examples:
        >>> import numpy as np, torch, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
        >>> network = fe_relu.P1Network(grid, np.arange(9.0))
        >>> module = fe_relu.to_torch(network, form="active")
        >>> float(module(torch.tensor([[0.5, 0.25]], dtype=torch.float64)))
        1.25
    """
    remedy = 'sparse=True or form="active"'
    layout = layout_of(network)
    with together(layout.comm if layout.is_spread else None) as terms:
        _check_options(form, trainable, sparse)
        check_form(network, "active" if sparse else form, remedy=remedy)
        with needed("torch", "to_torch"):
            import torch  # noqa: F401
        terms.alike("forms", form)
    whole = whole_of(network)
    if form == "active":
        parts = pieces(whole)
        if trainable and any(part.places is None for part in parts):
            raise ValueError(
                f'the active form of a {type(whole).__name__} cannot be trained; form="relu" can'
            )
        return _active_module(parts, trainable == "output")
    layers = layers_of(whole) if sparse else dense_layers(whole, remedy=remedy)
    return _sequence(layers, trainable, sparse)


def _check_options(form: str, trainable: Any, sparse: bool) -> None:
    if trainable not in (False, "output", "all"):
        raise ValueError(f'trainable must be False, "output" or "all", not {trainable!r}')
    if form == "active" and trainable == "all":
        raise ValueError(
            'form="active" has the lines of its mesh; trainable="output" trains its nodal values, '
            'and form="relu" has lines that move'
        )
    if form == "active" and sparse:
        raise ValueError('form="active" has no weights to be sparse; leave sparse out')


def _active_module(terms: tuple[Piece, ...], trainable: bool) -> torch.nn.Module:
    from fe_relu.formats.torch_modules import ActiveNeurons, ActiveTable, Sum

    modules = [
        ActiveTable(term) if term.places is None else ActiveNeurons(term, trainable=trainable)
        for term in terms
    ]
    return modules[0] if len(modules) == 1 else Sum(modules)


def _sequence(network: LayeredNetwork, trainable: Trainable, sparse: bool) -> torch.nn.Sequential:
    from torch import nn

    from fe_relu.formats.torch_modules import module_of

    modules: list[nn.Module] = []
    last = len(network.layers) - 1
    for k, (layer, rectified) in enumerate(zip(network.layers, network.rectified, strict=True)):
        module = module_of(layer, network.dtype, sparse)
        module.requires_grad_(trainable == "all" or (trainable == "output" and k == last))
        modules += [module, nn.ReLU()] if rectified else [module]
    return nn.Sequential(*modules)


Found = ReLUNetwork | PoolingNetwork | P1Network | Q1Network


def from_torch(module: torch.nn.Module) -> Found:
    """The network of a torch module, with the values its parameters have now.

    A `P1Network` or `Q1Network` if the module is one of form="active"; a `PoolingNetwork` if there
    is a pooling; otherwise a `ReLUNetwork`, of any
    `torch.nn.Sequential`, also nested, of `Linear`, `ReLU`, `Identity`, `Flatten`, `Dropout` (as in
    evaluation: the identity) and what `to_torch` makes. Affine maps in a row become one; 16-bit
    numbers become float32. The network is compared with the module, run as in evaluation at some
    points, so that nothing else can be hidden in it, such as hooks that change what comes out.

    Raises:
        ImportError: torch is not installed.
        ValueError: The module, or one inside, is of another kind, which the message names; or
            layers do not fit, or have NaN or infinite weights; or the module computes something
            else than its layers.
        TypeError: This is no module.

    Examples:
        >>> import torch, fe_relu
        >>> layers = torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1)
        >>> fe_relu.from_torch(torch.nn.Sequential(*layers)).widths
        (2, 5, 1)
    """
    with needed("torch", "from_torch"):
        import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch takes a torch module, not {type(module).__name__}")
    network = _network(module)
    if _difference(module, network):
        # Running the module has renewed weights that it computes before each call, if there are.
        network = _network(module)
    if apart := _difference(module, network):
        raise ValueError(f"{apart}; {_suspects(module)}")
    return network


def _network(module: torch.nn.Module) -> Found:
    """What the layers of a module say that it is."""
    from fe_relu.formats.torch_modules import ActiveNeurons, Sum

    if isinstance(module, ActiveNeurons):
        mesh = module.piece.mesh
        return LINEAR[mesh.is_simplicial](mesh, _array(module.values))
    if isinstance(module, Sum):
        return functools.reduce(operator.add, map(layers_of, map(_network, module.terms)))
    chain = Chain(None, room=Room(sum(tensor.numel() for tensor in module.parameters())))
    for name, step in _steps(module, ""):
        try:
            chain = _followed(chain, step)
        except (ValueError, TypeError) as error:
            raise ValueError(f"layer {name!r} ({type(step).__name__}) {error}") from error
    return chain.network()


def _steps(module: torch.nn.Module, name: str) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules that a sequence runs through, those of sequences in it too, with their names.

    One that occurs again runs again, although modules are listed once.
    """
    from torch import nn

    if not _is_a(module, nn.Sequential):
        yield name or "module", module
        return
    for inner, child in module._modules.items():
        if child is not None:
            yield from _steps(child, f"{name}.{inner}" if name else inner)


def _difference(module: torch.nn.Module, network: Found) -> str:
    """What a module gives that the network does not, beyond roundoff; nothing where they agree.

    In the module's dtype and on its device, in evaluation, whatever mode it is in.
    """
    import torch

    numbers = (t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point())
    like = next(numbers, torch.zeros(0))
    points = torch.from_numpy(probes(network).T.copy()).to(like.device, like.dtype)
    modes = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        with torch.no_grad():
            found = module(points)
    except Exception as error:
        return f"the module cannot be run at points of shape {tuple(points.shape)}: {error!s:.200}"
    finally:
        for part, mode in modes:
            part.training = mode
    x, eps = points.cpu().double().numpy().T, torch.finfo(like.dtype).eps
    expected, roundoff = values_and_roundoff(network, x, eps)
    if not isinstance(found, torch.Tensor):
        return f"the module gives a {type(found).__name__}, no tensor"
    if tuple(found.shape) != expected.T.shape:
        return f"the module gives numbers {tuple(found.shape)}, its layers {expected.T.shape}"
    values = found.cpu().double().numpy().T
    worst = np.unravel_index(np.argmax(np.abs(values - expected) - roundoff), values.shape)
    if np.abs(values - expected)[worst] <= 2 * roundoff[worst]:
        return ""
    return f"the module gives {values[worst]:.6g} where its layers give {expected[worst]:.6g}"


def _suspects(module: torch.nn.Module) -> str:
    """The modules inside that may compute something else than their layers say, and why."""
    from torch.nn.utils.parametrize import is_parametrized

    found = []
    for name, part in module.named_modules():
        reasons = {
            "hooks": part._forward_hooks or part._forward_pre_hooks,
            "a forward of its own": "forward" in vars(part),
            "parametrized weights": is_parametrized(part),
        }
        reason = " and ".join(reason for reason, holds in reasons.items() if holds)
        found += [f"{name or 'it'!r} has {reason}"] if reason else []
    return ", ".join(found) or "it overrides how modules are called"


def _is_a(module: torch.nn.Module, kind: type[torch.nn.Module]) -> bool:
    """Whether a module does what modules of a kind do, and not only derives from them."""
    return isinstance(module, kind) and type(module).forward is kind.forward


def _followed(chain: Chain, module: torch.nn.Module) -> Chain:
    from torch import nn

    from fe_relu.formats.torch_modules import Pool, SparseLinear

    if any(_is_a(module, kind) for kind in (nn.Identity, nn.Flatten, nn.Dropout)):
        return chain
    if _is_a(module, nn.ReLU):
        return chain.rectified()
    if _is_a(module, Pool):
        return chain.pooled(Pooling(_array(module.pairs), module.dim_in, module.kind))
    if _is_a(module, nn.Linear):
        weight = _array(module.weight)
        bias = np.zeros(len(weight), weight.dtype) if module.bias is None else _array(module.bias)
        return chain.then(Affine(weight, bias))
    if _is_a(module, SparseLinear):
        shape = (module.out_features, module.in_features)
        entries = (_array(module.weight), module.indices.cpu().numpy())
        return chain.then(Affine(scipy_sparse.csr_array(entries, shape=shape), _array(module.bias)))
    raise ValueError(
        "is no Linear, ReLU, Identity, Flatten, Dropout or Sequential, of which a ReLU network "
        "consists"
    )


def _array(tensor: torch.Tensor) -> npt.NDArray:
    import torch

    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor).numpy()
