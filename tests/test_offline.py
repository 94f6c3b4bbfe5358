"""No program of ours connects or listens, the worker and the readers included."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import phantoms
import pytest
import whole_session

# What keeps libraries silent must be set by our programs, not by who starts them.
_SILENCERS = ("HF_", "TRANSFORMERS_", "DO_NOT_TRACK", "ORT_")


@dataclass
class Run:
    """What the programs did while they were watched."""

    home: Path
    elsewhere: Path
    audited: list[str]
    calls: list[str]
    seen: dict[str, list[str]]


def _without_routes() -> list[str]:
    """Return what a command is put behind to have no network, not even to itself."""
    command = ["unshare", "-rn"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], check=False).returncode
    ):
        pytest.skip("a network namespace cannot be made here")
    return command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Build, search, and a reader's whole session with the compact encoder, all watched."""
    top = tmp_path_factory.mktemp("offline")
    report, elsewhere, home = top / "audit.txt", top / "users-home", top / "home"
    elsewhere.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_SILENCERS)},
        "HOME": str(elsewhere),
        "MEDSEARCH_AUDIT": str(report),
        "MEDSEARCH_HOME": str(home),
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent / "auditing"), os.environ.get("PYTHONPATH", "")]
        ),
    }
    pictures = top / "pictures"
    one = phantoms.write_picture(pictures / "one.png")
    phantoms.write_picture(pictures / "two.jpg")
    (top / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM")
    collection, traced = str(top / "collection"), top / "traced.txt"

    # Native code is not seen by Python's audit: the system's own calls are traced as well.
    watched = ["strace", "-f", "-qq", "-A", "-e", "trace=%network", "-o", str(traced)]
    probe = subprocess.run([*watched, "true"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip(f"strace cannot watch a process here: {probe.stderr.decode()}")

    def do(*arguments: object) -> None:
        done = subprocess.run(
            [*_without_routes(), *watched, sys.executable, *map(str, arguments)],
            check=False, capture_output=True, text=True, env=environment, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    do("-m", "indexer", "build", pictures, "--out", collection)
    do("-m", "indexer", "search", collection, "--image", one)
    notes = top / "notes.json"
    do(whole_session.__file__, notes, top / "broken.dcm", "--collection", collection, one)
    seen = json.loads(notes.read_text("utf-8"))
    audited = report.read_text("utf-8").split("\n")
    return Run(home, elsewhere, audited, traced.read_text("utf-8").splitlines(), seen)


@pytest.mark.slow
def test_that_all_of_it_is_done_without_a_network_and_by_processes_that_are_watched(run: Run):
    assert {"asked", "liked", "pasted", "refused", "lost SIGKILL"} <= set(run.seen["did"])
    # Two commands, the window, its three search processes and the readers of each.
    assert run.audited.count("started") >= 8
    assert len(run.seen["running"]) >= 5


@pytest.mark.slow
def test_that_building_and_searching_touch_no_internet_address_nor_a_file_elsewhere(run: Run):
    assert not [line for line in run.audited if line not in ("started", "")]
    assert [line for line in run.calls if "AF_UNIX" in line]  # the tracing sees what happens
    assert not [line for line in run.calls if "AF_INET" in line]
    assert run.seen["inet"] == []
    # Fonts and drivers keep caches of their own; libraries of ours keep nothing.
    kept = {path.relative_to(run.elsewhere).as_posix() for path in run.elsewhere.rglob("*")}
    assert not {name for name in kept if "icrosoft" in name or "onnxruntime" in name}


@pytest.mark.slow
def test_that_the_one_socket_listened_on_is_that_of_the_window_for_its_user(run: Run):
    listened = [line for line in run.calls if re.search(r"\blisten\(", line)]
    bound = [line for line in run.calls if re.search(r"\bbind\(", line)]
    assert len(listened) == 1
    # Qt binds in a folder of its own in the data folder, and moves the socket to its name.
    (named,) = [line for line in bound if 'sun_path="' in line]
    assert f'sun_path="{run.home}/' in named
    assert run.seen["unix"]
    assert all(address.startswith(f"{run.home}/") for address in run.seen["unix"])
