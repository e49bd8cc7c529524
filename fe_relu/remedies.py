# SPDX-License-Identifier: MIT
"""What to do with a network of a kind that a function does not take."""

from __future__ import annotations

from typing import Any

#: By the method that a network has, what it makes of it.
REMEDIES = {
    "to_p1": "to_p1() is a P1Network with the same values on the mesh",
    "explicit": "explicit() is a ReLUNetwork, the same everywhere",
    "compress": "compress(tol=…) is a Surrogate near it",
}


def wrong_kind(network: Any, taken: str, *methods: str) -> TypeError:
    """The error that names what is taken, and which of these methods of the network make that."""
    known = methods if hasattr(network, "dim_out") else ()  # arrays have a compress too
    ways = [REMEDIES[method] for method in known if hasattr(network, method)]
    remedy = f"; its {', its '.join(ways)}" if ways else ""
    return TypeError(f"{type(network).__name__} is not {taken}{remedy}")
