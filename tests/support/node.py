"""Programs in Node for tests; what they need comes from npm, by lock files that are committed."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "ops" / "examples" / "node-worker"
INSTALL_SECONDS = 300
WAIT_SECONDS = 30.0
STOP_SECONDS = 30.0


def install(folder: Path, target: Path) -> Path:
    """Copy a package and install what it needs; the test fails with one sentence if it cannot."""
    if not (npm := shutil.which("npm")):
        pytest.fail("node and npm are missing: apt install nodejs npm", pytrace=False)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("node_modules"))
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    command += ["--fetch-retries=1", "--fetch-timeout=60000"]
    try:
        subprocess.run(
            command, cwd=target, capture_output=True, check=True, timeout=INSTALL_SECONDS
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        told = (error.stderr or b"").decode(errors="replace").split() or [str(error)]
        reason = " ".join(told)[:500]
        pytest.fail(f"npm cannot install what {folder.name} needs: {reason}", pytrace=False)
    return target


class NodeWorker:
    """A process of the worker in `folder`. What it logs goes to a file beside the test's own."""

    def __init__(self, folder: Path, home: Path, url: str, name: str, *options: str) -> None:
        self.log = home / f"{name}.log"
        command = ["node", str(folder / "worker.mjs"), "--url", url, "--name", name, *options]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder
            )

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the worker has logged, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until the worker has logged this so many times."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            found = [line for line in self.events if line["event"] == event]
            if len(found) >= count:
                return found[count - 1]
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"no {event} in {WAIT_SECONDS} s: {self.log.read_text()}")

    def stop(self) -> int:
        """Ask the worker to end; return its exit code."""
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End the worker at once, if it has not ended."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)
