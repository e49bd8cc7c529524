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

from fe_relu.basics.refusals import needed
from fe_relu.formats.forms import Form, check_form, dense_layers, layers_of, pieces
from fe_relu.layers.chain import Chain
from fe_relu.layers.network import Affine, ReLUNetwork
from fe_relu.meshes.grid.active import Piece
from fe_relu.networks.nodal import layout_of, whole_of
from fe_relu.networks.p1 import P1Network

if TYPE_CHECKING:
    import torch

Trainable = Literal[False, "output", "all"]


def to_torch(
    network: Any, *, form: Form = "relu", trainable: Trainable = False, sparse: bool = False
) -> torch.nn.Module:
    """The network as a module from x (n, 2) to u (n, k), of the network's dtype, on the CPU.

    Both forms are the network on all of ℝ². "relu" is a `torch.nn.Sequential` of `Linear` and
    `ReLU`. "active" looks up the three nodal values that count at a point, at any size of the mesh;
    its derivative by x is `network.gradient`, on edges and vertices too, and points that are NaN or
    infinite give NaN.

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
    """
    remedy = 'sparse=True or form="active"'
    with layout_of(network).together() as terms:
        _check_options(form, trainable, sparse)
        check_form(network, "active" if sparse else form, remedy=remedy)
        with needed("torch", "to_torch"):
            import torch  # noqa: F401
        terms.alike("forms", form)
    whole = whole_of(network)
    if form == "active":
        terms = pieces(whole)
        if trainable and any(type(term) is not Piece for term in terms):
            raise ValueError(
                f'the active form of a {type(whole).__name__} cannot be trained; form="relu" can'
            )
        return _active_module(terms, trainable == "output")
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
    import torch

    from fe_relu.formats.torch_modules import ActiveNeurons, ActiveTable, Sum

    modules = [
        ActiveNeurons(term.grid, torch.tensor(term.values), trainable=trainable)
        if type(term) is Piece
        else ActiveTable(term, torch.tensor(term.table))
        for term in terms
    ]
    return modules[0] if len(modules) == 1 else Sum(modules)


def _sequence(network: ReLUNetwork, trainable: Trainable, sparse: bool) -> torch.nn.Sequential:
    from torch import nn

    modules: list[nn.Module] = []
    make = _sparse_linear if sparse else _linear
    last = len(network.layers) - 1
    for k, layer in enumerate(network.layers):
        linear = make(layer, network.dtype)
        linear.requires_grad_(trainable == "all" or (trainable == "output" and k == last))
        modules += [linear, nn.ReLU()] if k < last else [linear]
    return nn.Sequential(*modules)


def _linear(layer: Affine, dtype: np.dtype) -> torch.nn.Module:
    import torch
    from torch import nn

    # On no device, so that no random numbers are drawn only to be replaced.
    linear = nn.Linear(layer.dim_in, layer.dim_out, device="meta")
    linear.weight = nn.Parameter(torch.from_numpy(layer.weight.toarray().astype(dtype)))
    linear.bias = nn.Parameter(torch.from_numpy(layer.bias.astype(dtype)))
    return linear


def _sparse_linear(layer: Affine, dtype: np.dtype) -> torch.nn.Module:
    import torch

    from fe_relu.formats.torch_modules import SparseLinear

    entries = layer.weight.tocoo()
    indices = torch.from_numpy(np.array(entries.coords, np.int64))
    weight = torch.from_numpy(entries.data.astype(dtype))
    return SparseLinear(indices, weight, torch.from_numpy(layer.bias.astype(dtype)), layer.dim_in)


def from_torch(module: torch.nn.Module) -> ReLUNetwork | P1Network:
    """The network of a torch module, with the values its parameters have now.

    A `P1Network` if the module is one of form="active"; otherwise a `ReLUNetwork`, of any
    `torch.nn.Sequential`, also nested, of `Linear`, `ReLU`, `Identity`, `Flatten`, `Dropout` (as in
    evaluation: the identity) and what `to_torch` makes. Affine maps in a row become one; 16-bit
    numbers become float32.

    Raises:
        ImportError: torch is not installed.
        ValueError: The module, or one inside, is of another kind, which the message names; or
            layers do not fit, or have NaN or infinite weights.
        TypeError: This is no module.
    """
    with needed("torch", "from_torch"):
        import torch
    from fe_relu.formats.torch_modules import ActiveNeurons, Sum

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch takes a torch module, not {type(module).__name__}")
    if isinstance(module, ActiveNeurons):
        return P1Network(module.mesh, _array(module.values))
    if isinstance(module, Sum):
        terms = (from_torch(term) for term in module.terms)
        return functools.reduce(
            operator.add, (t.explicit() if isinstance(t, P1Network) else t for t in terms)
        )
    chain = Chain(None)
    for name, step in _steps(module, ""):
        try:
            chain = _followed(chain, step)
        except (ValueError, TypeError) as error:
            raise ValueError(f"layer {name!r} ({type(step).__name__}) {error}") from error
    return chain.network()


def _steps(module: torch.nn.Module, name: str) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules that a sequence runs through, those of sequences in it too, with their names."""
    from torch import nn

    if not _is_a(module, nn.Sequential):
        yield name or "module", module
        return
    for inner, child in module.named_children():
        yield from _steps(child, f"{name}.{inner}" if name else inner)


def _is_a(module: torch.nn.Module, kind: type[torch.nn.Module]) -> bool:
    """Whether a module does what modules of a kind do, and not only derives from them."""
    return isinstance(module, kind) and type(module).forward is kind.forward


def _followed(chain: Chain, module: torch.nn.Module) -> Chain:
    from torch import nn

    from fe_relu.formats.torch_modules import SparseLinear

    if any(_is_a(module, kind) for kind in (nn.Identity, nn.Flatten, nn.Dropout)):
        return chain
    if _is_a(module, nn.ReLU):
        return chain.rectified()
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
