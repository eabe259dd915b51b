"""For the tests of those who use Warrener: run a job in-process, with time under control."""

from warrener.services.local_run import LocalRun

__all__ = ["LocalRun"]
