"""After a restore: what was ordered before it counts no more, and what is open is sent again."""

from __future__ import annotations
