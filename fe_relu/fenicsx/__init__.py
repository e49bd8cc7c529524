# SPDX-License-Identifier: MIT
"""All that knows DOLFINx: functions become networks and come back."""
