"""The engine of the expression language, without the command line that its package has, too.

That one would bring a library for terminals: a third of the time in which a command begins.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Final

COMMAND_LINE: Final = "cel.cli"

_is_there = COMMAND_LINE in sys.modules
if not _is_there:
    sys.modules[COMMAND_LINE] = ModuleType(COMMAND_LINE)
import cel  # noqa: E402

if not _is_there:
    del sys.modules[COMMAND_LINE]  # whoever wants it can have it

compiled = cel.compile
