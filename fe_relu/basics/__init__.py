# SPDX-License-Identifier: MIT
"""Arguments, refusals and compiled loops: what every other package stands on."""
