# SPDX-License-Identifier: MIT
"""What can be typed: commands, their arguments, and the help on them."""

from __future__ import annotations

import argparse
from typing import NoReturn


class _Parser(argparse.ArgumentParser):
    """Errors are raised, to be reported as all others."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; {self.prog} --help shows how")


class _Version(argparse.Action):
    """Imports the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from fe_relu import __version__

        print(f"fe-relu {__version__}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """That of the whole command line.

    What it parses has, besides arguments, `run`, the function of `fe_relu.cli.commands` to call,
    and `collective`, whether all ranks are to call it.
    """
    parser = _Parser(
        prog="fe-relu",
        description="P1 finite-element functions as ReLU networks: look at files, convert, "
        "evaluate, compress and draw them.",
        epilog="fe-relu COMMAND --help shows the arguments of a command, with an example.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    _add_debug(parser, default=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_info, _add_convert, _add_eval, _add_compress, _add_plot):
        add(commands)
    return parser


def _add_debug(parser: argparse.ArgumentParser, default: object = argparse.SUPPRESS) -> None:
    parser.add_argument(
        "--debug", action="store_true", default=default, help="show where an error comes from"
    )


def _add(
    commands: argparse._SubParsersAction, name: str, run: str, what: str, example: str
) -> argparse.ArgumentParser:
    """A command with the file that all take."""
    parser = commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, collective=False)
    parser.add_argument("file", metavar="FILE", help="a network: .safetensors, .onnx, or .bp")
    _add_debug(parser)
    return parser


def _add_box(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--box", nargs="+", type=float, metavar="X", help=f"X0 X1 Y0 Y1, or X0 X1: {what}"
    )


def _add_info(commands: argparse._SubParsersAction) -> None:
    what = "show kind, grid, neurons, non-zeros, bounds and memory of a network"
    example = "fe-relu info temperature.safetensors\n  fe-relu info trained.onnx --box -1 1 -1 1"
    parser = _add(commands, "info", "info", what, example)
    _add_box(parser, "where the linear regions of layers are counted; by default 0 1 0 1")


def _add_convert(commands: argparse._SubParsersAction) -> None:
    parser = _add(
        commands,
        "convert",
        "convert",
        "write a network in another format",
        "fe-relu convert temperature.safetensors temperature.onnx --form active\n"
        "  fe-relu convert results.bp temperature.safetensors --name T --time 2.5\n"
        "  fe-relu convert trained.onnx trained.xdmf --box -1 1 -1 1",
    )
    parser.add_argument(
        "out",
        metavar="OUT",
        help="the file to write: .safetensors or .onnx by suffix; or .xdmf, for ParaView, the mesh "
        "on which the network is P1, and its values there",
    )
    _add_box(parser, "the domain of .xdmf")
    parser.add_argument(
        "--form",
        choices=("relu", "active"),
        help="of .onnx: all layers (default), or active neurons only, for any size",
    )
    parser.add_argument(
        "--p1",
        action="store_true",
        help="recognise the mesh from the weights, and keep it and nodal values instead of layers",
    )
    parser.add_argument("--name", help="which function of a checkpoint")
    parser.add_argument("--time", type=float, help="which of its times")


def _add_eval(commands: argparse._SubParsersAction) -> None:
    parser = _add(
        commands,
        "eval",
        "evaluate",
        "evaluate a network at many points, also under mpirun",
        "fe-relu eval temperature.safetensors points.csv -o values.csv\n"
        "  mpirun -n 8 fe-relu eval temperature.safetensors points.npy -o values.npy",
    )
    parser.set_defaults(collective=True)
    parser.add_argument(
        "points",
        metavar="POINTS",
        help="a .npy array of two or three columns, the third not used, or text with commas or "
        "white space, where a line of names says which columns are x and y",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="VALUES",
        required=True,
        help="the file to write, .npy or .csv by suffix: a row for each point, in their order",
    )
    parser.add_argument(
        "--outside",
        choices=("extend", "nan", "raise"),
        default="extend",
        help="outside the mesh: what the network gives (default), NaN, or an error",
    )


def _add_compress(commands: argparse._SubParsersAction) -> None:
    parser = _add(
        commands,
        "compress",
        "compress",
        "make a small network with a proven error from a P1 function",
        "fe-relu compress temperature.safetensors -o small.safetensors --tol 1e-3 --relative",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="the file to write: .safetensors or .onnx by suffix; without it, only say "
        "how small the network would be",
    )
    aim = parser.add_mutually_exclusive_group(required=True)
    aim.add_argument("--tol", type=float, metavar="T", help="the largest error")
    aim.add_argument("--max-neurons", type=int, metavar="N", help="the largest number of neurons")
    parser.add_argument(
        "--relative", action="store_true", help="T counts in units of the function's size"
    )
    parser.add_argument(
        "--norm",
        choices=("sup", "H1"),
        default="sup",
        help="the error that counts: the largest (default), or that of the gradient",
    )
    parser.add_argument(
        "--levels", type=int, metavar="L", help="of nested meshes; by default as many as there are"
    )


def _add_plot(commands: argparse._SubParsersAction) -> None:
    parser = _add(
        commands,
        "plot",
        "plot",
        "draw a network over its mesh",
        "fe-relu plot temperature.safetensors -o temperature.png\n"
        "  fe-relu plot trained.onnx -o regions.png --box -1 1 -1 1",
    )
    _add_box(parser, "draws the linear regions of the network there")
    parser.add_argument(
        "-o", "--output", metavar="PNG", required=True, help="the picture to write; also .pdf, .svg"
    )
