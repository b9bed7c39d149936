"""What is declared, what is pinned, what is imported and what ships agree with each other."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from labkit._version import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text()

# torch pins its own CUDA libraries; pip and setuptools belong to the environment.
FOLLOW = re.compile(r"(nvidia|cuda)-(?!ml-py)|triton$|(pip|setuptools|wheel)$")
# Makefile puts it over opencv-python where there is no libGL.
ALTERNATIVES = {"opencv-python-headless": "opencv-python"}


def declared() -> dict[str, Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def pinned() -> dict[str, Version]:
    lines = (line.split("#")[0].strip() for line in CONSTRAINTS.splitlines())
    pairs = (line.split("==") for line in lines if line)
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def closure() -> dict[str, Version]:
    """Every installed distribution that the declared ones need, with its version."""
    found: dict[str, Version] = {}
    seen: set[tuple[str, str]] = set()
    todo = list(declared().values())
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            distribution = metadata.distribution(name)
            found[name] = Version(Version(distribution.version).public)
            needs = map(Requirement, distribution.requires or [])
            todo += [n for n in needs if not n.marker or n.marker.evaluate({"extra": extra})]
    return found


def test_constraints_are_plain_pins():
    assert "://" not in CONSTRAINTS
    assert "@" not in CONSTRAINTS
    for name, version in pinned().items():
        assert version.local is None, f"{name} is pinned to a local build"
    names = [line for line in CONSTRAINTS.splitlines() if line and not line.startswith("#")]
    assert names == sorted(names, key=str.lower)


def test_litert_txt_is_for_what_pip_cannot_resolve():
    lines = (ROOT / "litert.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert not {canonicalize_name(pin.name) for pin in pins} & pinned().keys()
    refused = set()
    for pin in pins:
        try:
            distribution = metadata.distribution(pin.name)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{pin.name} is not made for this system")
        assert pin.specifier.contains(distribution.version), pin
        for need in map(Requirement, distribution.requires or []):
            version = pinned().get(canonicalize_name(need.name))
            wanted = not need.marker or need.marker.evaluate({"extra": ""})
            if version and wanted and not need.specifier.contains(str(version)):
                refused.add((canonicalize_name(pin.name), canonicalize_name(need.name)))
    assert refused == {("xdsl", "typing-extensions")}, "what its comment says, and nothing else"


@pytest.mark.parametrize("name", sorted(declared()))
def test_dependency_is_pinned_within_its_range(name: str):
    assert pinned()[name] in declared()[name].specifier


def test_everything_needed_is_pinned_at_the_version_tested():
    needed = {name: version for name, version in closure().items() if not FOLLOW.match(name)}
    assert {name: pinned().get(name) for name in needed} == needed


def test_nothing_else_is_pinned():
    platform_only = {"appnope", "pywinpty"}
    assert set(pinned()) - set(closure()) <= platform_only | set(ALTERNATIVES)
    for name, other in ALTERNATIVES.items():
        assert pinned()[name] == pinned()[other]


def test_torch_is_new_enough_to_unpickle_safely():
    assert Version("2.9.1") not in declared()["torch"].specifier


def test_environment_yml_installs_this_package_with_the_constraints():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    assert pip == ["--constraint constraints.txt", "--editable ."]
    names = [entry for entry in dependencies if isinstance(entry, str)]
    assert [re.match("[a-z]+", name)[0] for name in names] == ["python", "pip"]
    python = SpecifierSet(names[0].removeprefix("python"))
    for minor in ("3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {minor}" in PROJECT["classifiers"]
        assert minor in python
        assert minor in SpecifierSet(PROJECT["requires-python"])


def test_changelog_begins_with_this_version():
    versions = re.findall(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0][0] == __version__
    assert [Version(v) for v, _ in versions] == sorted(
        (Version(v) for v, _ in versions), reverse=True
    )
    for _, date in versions[1:]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", date)


def test_licence_is_the_whole_agpl():
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "AGPL-3.0-or-later"
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in text.splitlines()[0]
    assert "13. Remote Network Interaction" in text
    assert "END OF TERMS AND CONDITIONS" in text


def third_party_imports() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "labkit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                top = name.partition(".")[0]
                if top != "labkit" and top not in sys.stdlib_module_names:
                    yield top, str(path.relative_to(ROOT))


def test_every_import_is_declared():
    tests_only = PROJECT["optional-dependencies"]["test"]
    runtime = set(declared()) - {canonicalize_name(Requirement(line).name) for line in tests_only}
    provided = metadata.packages_distributions()
    undeclared = []
    for module, path in sorted(set(third_party_imports())):
        owners = {canonicalize_name(name) for name in provided.get(module, [module])}
        if not owners & runtime:
            undeclared.append(f"{path} imports {module}")
    assert undeclared == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True)
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


def test_wheel_holds_every_notebook_and_every_file_of_the_package(wheel: zipfile.ZipFile):
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    shipped = {name for name in names if ".data/data/share/" not in name}
    notebooks = {f"labkit/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "labkit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == notebooks | package
    assert "labkit/py.typed" in shipped, "without it type checkers ignore the annotations"
    (kernel,) = set(names) - shipped  # for every Jupyter of the environment
    assert kernel.endswith("/share/jupyter/kernels/labkit-warm/kernel.json")


def test_wheel_holds_the_licence_and_the_command(wheel: zipfile.ZipFile):
    contents = {name.partition(".dist-info/")[2]: name for name in wheel.namelist()}
    assert "licenses/LICENSE" in contents
    assert b"labkit.cli:main" in wheel.read(contents["entry_points.txt"])


def test_repository_names_no_machine():
    tracked = ["pyproject.toml", "constraints.txt", "environment.yml", "Makefile", ".ci/run"]
    for name in tracked:
        text = (ROOT / name).read_text()
        assert "://" not in text, f"{name} holds an address"
        assert not re.search(r"/(work|home|root|opt)/", text), f"{name} holds a path"
