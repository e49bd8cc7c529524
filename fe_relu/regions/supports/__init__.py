# SPDX-License-Identifier: MIT
"""Where networks are not 0: unions of cells, their outlines, and how far two are apart."""
