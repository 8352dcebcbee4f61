"""The distribution: what is installed, what importing costs, what is public."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import os
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import estimators
import infossl

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "matplotlib", "numba", "pandas", "sklearn")


def modules_after(code: str) -> set[str]:
    """Names of the top-level modules loaded in a fresh process after running `code`."""
    script = f"{code}\nimport sys; print(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_estimators_is_ours():
    """Another distribution on the path could own that name."""
    assert Path(estimators.__file__).parent == ROOT / "estimators"
    owners = importlib.metadata.packages_distributions().get("estimators", ["infossl"])
    assert set(owners) == {"infossl"}


def test_importing_estimators_is_light():
    assert not modules_after("import estimators; estimators.KSG; estimators.InfoNCE") & {
        "torch",
        "matplotlib",
        "numba",
    }
    every = "import estimators; estimators.ESTIMATORS; estimators.Panel, estimators.mutual_information, estimators.distributions"
    assert not modules_after(every) & set(HEAVY)
    assert not modules_after(
        "from estimators import Auto, Panel, Student; Auto(), Panel(), repr(Student())"
    ) & set(HEAVY)
    assert not modules_after("import infossl") & set(HEAVY)


def test_the_check_above_can_fail():
    assert "torch" in modules_after("import torch")


def test_importing_changes_no_environment_and_no_global_state():
    code = (
        "import os, random, logging, warnings\n"
        "before = (dict(os.environ), random.getstate(), logging.root.handlers[:], warnings.filters[:])\n"
        "import estimators, infossl\n"
        "assert before == (dict(os.environ), random.getstate(), logging.root.handlers[:], warnings.filters[:])"
    )
    modules_after(code)


def test_no_entry_point_acts_on_import():
    groups = {e.group for e in importlib.metadata.distribution("infossl").entry_points}
    assert groups == {"console_scripts"}


def test_nothing_we_install_pulls_torchvision():
    declared = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    assert "torchvision" not in declared
    for name in importlib.metadata.requires("infossl"):
        assert not name.startswith(("torchvision", "timm", "lightly"))


@pytest.mark.parametrize("package", [estimators, infossl])
def test_every_public_name_exists(package):
    assert len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None


@pytest.mark.parametrize("package", [estimators])
def test_every_public_name_of_every_module_is_documented(package):
    """Names in `__all__`, and the public methods and properties of the classes among them."""
    bare = []
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if any(part.startswith("_") for part in found.name.split(".")):
            continue
        module = importlib.import_module(found.name)
        assert module.__doc__, found.name
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if getattr(thing, "__module__", None) != found.name or not callable(thing):
                continue
            if not (thing.__doc__ or "").strip() or (thing.__doc__ or "").startswith(f"{name}("):
                bare.append(f"{found.name}.{name}")
            if isinstance(thing, type):
                bare += [
                    f"{found.name}.{name}.{key}"
                    for key, value in vars(thing).items()
                    if not key.startswith("_")
                    and isinstance(value, (types.FunctionType, property, classmethod, staticmethod))
                    and not inspect.getdoc(getattr(thing, key))
                ]
    assert bare == []


@pytest.mark.slow
def test_two_processes_may_compile_at_once(tmp_path):
    """A cold cache and two first calls: both finish, and with the same number."""
    code = (
        "import numpy as np; from estimators import KSG\n"
        "x, y = np.random.default_rng(0).standard_normal((2, 400, 2)); print(KSG()(x, y + x).value)"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    assert len({out for out, _ in ended}) == 1
    assert any(tmp_path.rglob("*.nbi")), "the cache was cold, and is used"


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = infossl.nonsense
    with pytest.raises(AttributeError, match="nonsense"):
        _ = estimators.nonsense


def test_library_code_never_prints():
    def calls(path: Path) -> set[str]:
        names = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        return {name.id for name in names if isinstance(name, ast.Name)}

    for path in [*ROOT.glob("estimators/**/*.py"), *ROOT.glob("infossl/**/*.py")]:
        assert "print" not in calls(path) or "cli" in path.parts, path
    assert "print" in calls(ROOT / "infossl/cli/train.py")  # the check can see one
