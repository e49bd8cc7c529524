# SPDX-License-Identifier: MIT
"""`python -m fe_relu` is `fe-relu`."""

import sys

from fe_relu.cli.main import main

sys.exit(main())
