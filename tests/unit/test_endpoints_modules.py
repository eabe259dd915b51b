"""Loading modules of endpoints and jobs that users name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from warrener.domain.errors import UsageError
from warrener.services.endpoints import REGISTRY
from warrener.services.modules import load_endpoint_modules, load_job, load_module

ENDPOINT = """
from warrener import endpoint, job

@endpoint("{name}")
def work(x: int) -> int:
    return x
"""


@pytest.fixture(autouse=True)
def _untouched(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(REGISTRY, "_endpoints", {})


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_file_is_loaded_by_its_path_from_the_base(tmp_path):
    write(tmp_path, "mine.py", ENDPOINT.format(name="modules.file"))

    load_endpoint_modules(["./mine.py"], tmp_path)

    assert REGISTRY.get("modules.file").function(3) == 3


def test_loading_a_file_again_does_not_run_it_again(tmp_path):
    write(tmp_path, "once.py", "from pathlib import Path\nruns = []\nruns.append(1)\n")

    first = load_module("once.py", tmp_path)

    assert load_module(str(tmp_path / "once.py")) is first
    assert first.runs == [1]


def test_a_module_is_loaded_by_its_name_and_may_import_what_lies_beside_it(tmp_path):
    (tmp_path / "some_package_a").mkdir()
    write(tmp_path / "some_package_a", "__init__.py", "")
    write(tmp_path / "some_package_a", "work.py", ENDPOINT.format(name="modules.package"))
    write(tmp_path, "beside_a.py", "import some_package_a.work\n")

    load_endpoint_modules(["beside_a.py"], tmp_path)
    load_endpoint_modules(["some_package_a.work"], tmp_path)

    assert REGISTRY.get("modules.package") is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import os\n\n1 / 0\n", "broken.py:3: ZeroDivisionError: division by zero"),
        ("def f(:\n", "broken.py:1: SyntaxError"),
        ("import json\njson.loads('{')\n", "broken.py:2: JSONDecodeError"),
        ("import no_such_module_x\n", "broken.py:1: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)\n", "broken.py:1: SystemExit: 3"),
        (
            "from warrener import endpoint\n\n@endpoint('a.b', timeout='soon')\ndef f(): ...\n",
            "broken.py:3: a.b: timeout: 'soon' is not a duration",
        ),
        (
            "from warrener import endpoint\n@endpoint('modules.odd')\ndef f(x: 'Missing'): ...\n",
            "endpoint modules.odd: its annotations cannot be read: name 'Missing'",
        ),
    ],
)
def test_a_fault_in_the_users_module_is_one_error_with_its_place(tmp_path, text, words):
    write(tmp_path, "broken.py", text)

    with pytest.raises(UsageError) as caught:
        load_endpoint_modules(["broken.py"], tmp_path)

    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["missing.py", "folder/missing.py", "no_such_package.module"])
def test_a_module_that_is_not_there_is_told(tmp_path, name):
    with pytest.raises(UsageError, match="there is no"):
        load_endpoint_modules([name], tmp_path)


JOBS = """
from warrener import endpoint, job

@endpoint("modules.leaf")
def leaf(): ...

@job("inner-job")
def inner():
    return leaf()

@job("outer-job")
def outer(x: int):
    return inner()

other = 3
"""


def test_a_job_is_loaded_with_the_jobs_that_it_starts(tmp_path):
    write(tmp_path, "jobs.py", JOBS)

    definition, library = load_job("jobs.py:outer", tmp_path)

    assert definition.name == "outer-job"
    assert {name: inner.steps["leaf"].call for name, inner in library.items()} == {
        "inner-job": "modules.leaf"
    }


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("jobs.py", "is not a job: write"),
        ("jobs.py:", "is not a job: write"),
        ("jobs.py:other", "has no job other: it has inner, outer"),
        ("jobs.py:absent", "has no job absent"),
    ],
)
def test_a_reference_that_names_no_job_is_refused(tmp_path, reference, words):
    write(tmp_path, "jobs.py", JOBS)

    with pytest.raises(UsageError, match=words):
        load_job(reference, tmp_path)
