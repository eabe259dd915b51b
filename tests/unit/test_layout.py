"""The layout of the repository: linked layers, the package list, and what is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("domain", "projections", "adapters", "services")
BUILD = """
import sys
from setuptools import build_meta
print(build_meta.build_wheel(sys.argv[1]))
"""


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def layer_files(root: Path) -> Iterator[Path]:
    """Every file of the layers, relative to `root`, save what Python leaves behind."""
    for layer in LAYERS:
        for path in sorted((root / layer).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root)


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all files in a wheel, built from a copy of the working tree."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("warrener", *LAYERS):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-I", "-c", BUILD, "dist"],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with ZipFile(copy / "dist" / done.stdout.split()[-1]) as wheel:
        return set(wheel.namelist())


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_reached_through_a_relative_link(layer: str) -> None:
    link = ROOT / "warrener" / layer

    assert link.is_symlink()
    assert link.readlink() == Path("..") / layer
    assert link.resolve() == ROOT / layer


def test_the_package_list_names_every_folder_with_modules_and_no_other() -> None:
    listed = project()["tool"]["setuptools"]["packages"]  # type: ignore[index]
    found = {path.parent for path in layer_files(ROOT) if path.suffix == ".py"}

    assert sorted(listed) == sorted(["warrener", *(dotted(folder) for folder in found)])


def dotted(folder: Path) -> str:
    return ".".join(("warrener", *folder.parts))


def test_every_package_has_an_init_module() -> None:
    packages = {path.parent for path in layer_files(ROOT) if path.suffix == ".py"}

    assert [str(p) for p in sorted(packages) if not (ROOT / p / "__init__.py").is_file()] == []


def test_the_command_is_the_main_function_of_the_cli() -> None:
    assert project()["project"]["scripts"] == {  # type: ignore[index]
        "warrener": "warrener.services.cli:main"
    }


def test_a_wheel_has_every_file_of_the_layers_and_the_typing_marker(wheel_names: set[str]) -> None:
    expected = {f"warrener/{path.as_posix()}" for path in layer_files(ROOT)}

    assert sorted(expected - wheel_names) == []
    assert {"warrener/__init__.py", "warrener/py.typed"} <= wheel_names


def test_a_wheel_installs_no_other_top_level_name(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"warrener"}


def test_a_wheel_carries_the_licence(wheel_names: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_names)
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
