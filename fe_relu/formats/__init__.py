# SPDX-License-Identifier: MIT
"""Networks leave and come back: files, ONNX, torch, VNN-LIB."""
