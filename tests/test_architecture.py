"""The house: what may import what, what importing costs, and what every module owes its reader."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medsearch_desktop import errors

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    [*ROOT.glob("medsearch_desktop/**/*.py"), *ROOT.glob("indexer/**/*.py")],
    key=lambda path: path.as_posix(),
)


def _names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def _imported_by(module: str) -> set[str]:
    code = f"import sys, {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_that_imports_only_go_down():
    # In a process of its own: it switches off every logger that is there already.
    code = "from importlinter import cli; raise SystemExit(cli.lint_imports(cache_dir=None))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout


def test_that_importing_the_window_loads_no_heavy_library():
    loaded = _imported_by("medsearch_desktop.gui.app")
    assert not loaded & {"torch", "faiss", "open_clip", "vtkmodules", "onnxruntime", "tantivy"}
    assert not {name for name in loaded if name.startswith("medsearch_desktop.engine")}


def test_that_importing_the_indexer_loads_neither_qt_nor_torch():
    assert not _imported_by("indexer.cli") & {"PySide6", "torch", "qtawesome"}


def test_that_importing_the_compact_encoder_loads_no_torch():
    assert "torch" not in _imported_by("medsearch_desktop.engine.encoders.compact")


@pytest.mark.parametrize("module", MODULES, ids=_names(MODULES))
def test_that_every_module_states_its_purpose_in_one_line(module: Path):
    docstring = ast.get_docstring(ast.parse(module.read_text("utf-8")))
    assert docstring
    first = docstring.splitlines()[0]
    assert first.endswith((".", ")", "?")) or ":" in first or len(first) > 10


@pytest.mark.parametrize("module", MODULES, ids=_names(MODULES))
def test_that_no_module_grows_past_400_lines(module: Path):
    assert len(module.read_text("utf-8").splitlines()) <= 400


def test_that_no_room_is_called_by_a_name_that_says_nothing():
    empty = {"utils", "util", "misc", "helpers", "common", "core", "manager", "data"}
    assert not empty & {module.stem for module in MODULES}


def test_that_the_given_folders_are_no_packages():
    assert not (ROOT / "packaging" / "__init__.py").exists()
    assert not list((ROOT / "resources").rglob("__init__.py"))


def _purpose(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text("utf-8")))
    assert docstring
    return docstring.splitlines()[0].rstrip(".")


def test_that_the_layout_names_every_module_with_its_own_purpose_and_no_other():
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    layout = text.split("## Layout")[1].split("```")[1]
    listed = re.findall(r"^ *(\S+\.py) +(.+)$", layout, flags=re.MULTILINE)
    wanted = [(m.name, _purpose(m)) for m in MODULES if m.name != "__init__.py"]
    assert sorted(listed) == sorted(wanted)


def _errors() -> list[type[errors.MedsearchError]]:
    found = [errors.MedsearchError]
    for kind in found:
        found += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", _errors(), ids=lambda kind: kind.__name__)
def test_that_every_error_survives_the_pipe_with_its_sentence(kind: type[errors.MedsearchError]):
    signature = inspect.signature(kind.__init__)
    wanted = [p for p in signature.parameters.values() if p.name not in ("self", "args", "kwargs")]
    values = {"str": "some words", "int": 3, "float": 2.5}
    arguments = [values[str(p.annotation)] for p in wanted] or ["a sentence"]
    error = kind(*arguments)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == str(error) != ""
    assert back.action.endswith(".")


def test_that_every_command_option_and_setting_stands_in_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    import argparse
    import dataclasses

    from indexer import cli
    from medsearch_desktop import settings

    (commands,) = (
        action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    missing = [name for name in commands.choices if f"`{name}" not in readme]
    missing += [
        f"{name} {action.option_strings[0]}"
        for name, command in commands.choices.items()
        for action in command._actions
        if action.option_strings and action.help != argparse.SUPPRESS
        if action.option_strings[-1] != "--help"
        if not any(option in readme for option in action.option_strings)
    ]
    for section in dataclasses.fields(settings.Settings):
        for key in dataclasses.fields(section.default_factory):  # type: ignore[arg-type]
            if f"{section.name}.{key.name}" not in readme:
                missing.append(f"{section.name}.{key.name}")
    assert not missing


def test_that_no_tracked_file_names_a_place_of_a_developers_machine():
    tracked = subprocess.run(
        ["git", "ls-files"], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.split("\n")
    named = []
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".qss", ".cff", ".lock", ".in", ".yaml"}:
            text = path.read_text("utf-8")
            if re.search(r"(?<![\w.])/(work|root|opt/wheels)/", text):
                named.append(name)
    assert not named


def test_that_pickles_are_loaded_nowhere():
    # The one weights-only reader of checkpoints runs in a child process.
    loading = [
        module.relative_to(ROOT).as_posix()
        for module in MODULES
        if re.search(
            r"pickle\.loads?\(|torch\.load\((?![^)]*weights_only=True)|allow_pickle=True",
            module.read_text("utf-8"),
        )
    ]
    assert not loading
