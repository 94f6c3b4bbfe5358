"""Encoders of every kind are imported, build and search in a process that has no network."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import phantoms
import pytest
import small_biovil
import small_models
import small_timm
import toy_collection

from medsearch_desktop import settings

# What keeps libraries silent must be set by our programs, not by who starts them.
_SILENCERS = ("HF_", "TRANSFORMERS_", "DO_NOT_TRACK", "ORT_")
_TESTS = Path(__file__).parent
_COLOURS = toy_collection.COLOURS[:6]


def _compact(folder: Path) -> Path:
    """Write the model that comes with the program under another name, as if downloaded."""
    shutil.copytree(settings.resource("models/compact"), folder)
    about = (folder / "model.toml").read_text("utf-8")
    (folder / "model.toml").write_text(about.replace('name = "compact"', 'name = "mine"'), "utf-8")
    (folder / "SHA256SUMS").unlink()
    return folder


WRITERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "compact": ("compact", _compact),
    "biomedclip": ("open_clip", small_models.biomedclip),
    "biomedclip-pickled": ("open_clip", lambda path: small_models.biomedclip(path, ".bin")),
    "clip": ("open_clip", small_models.clip_vit_b32_quickgelu),
    "pubmedclip": ("open_clip", small_models.pubmedclip),
    "siglip": ("open_clip", small_models.siglip),
    "biovil": ("biovil", small_biovil.write),
    "timm": ("image_only", small_timm.timm),
    "dino": ("image_only", small_timm.dinov2),
}


# Runs the commands it is told, a line of JSON each, and answers with what each printed.
_PROGRAM = """
import contextlib, faulthandler, io, json, sys
from medsearch_desktop import settings

def main():
    faulthandler.dump_traceback_later(900, exit=True)
    settings.offline()
    from indexer import cli
    for line in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = cli.main([*json.loads(line), "--json"])
        print(json.dumps([status, said.getvalue()]), flush=True)

# Reader processes import this file again when they are started.
if __name__ == "__main__":
    main()
"""


# One layout of each kind always; the others share its code, and have tests of their own.
_ALWAYS = ("compact", "biomedclip", "biovil", "timm")
_IS_TRIAL = bool(os.environ.get("MEDSEARCH_TRIAL"))


@dataclass
class Cut:
    """Gives commands to a process that is watched and has no network."""

    top: Path
    process: subprocess.Popen[str]

    @property
    def audited(self) -> list[str]:
        """What the processes did with the network, and a line for each that was started."""
        return (self.top / "audit.txt").read_text("utf-8").split("\n")

    def run(self, *words: object) -> dict[str, Any]:
        """Return the JSON of a command that ended well."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([*map(str, words)]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, (self.top / "stderr.txt").read_text("utf-8")
        status, said = json.loads(answer)
        assert status == 0, f"{words}: {said}"
        report: dict[str, Any] = json.loads(said)
        return report


@contextlib.contextmanager
def _started(top: Path) -> Iterator[Cut]:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(_SILENCERS)},
        "HOME": str(top / "users-home"),
        "MEDSEARCH_AUDIT": str(top / "audit.txt"),
        "MEDSEARCH_HOME": str(top / "home"),
        "MEDSEARCH_REFUSE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(
            [str(_TESTS / "auditing"), str(_TESTS.parent), os.environ.get("PYTHONPATH", "")]
        ),
    }
    (top / "program.py").write_text(_PROGRAM, "utf-8")
    with (
        (top / "stderr.txt").open("w") as stderr,
        subprocess.Popen(
            [*_without_routes(), sys.executable, str(top / "program.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
            env=environment,
        ) as process,
    ):  # fmt: skip
        yield Cut(top, process)


def _without_routes() -> list[str]:
    """Return what a command is put behind to have no network; [] where that cannot be had.

    The watcher refuses every internet address all the same.
    """
    command = ["unshare", "-rn"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], check=False, capture_output=True).returncode
    ):
        return []
    return command


@pytest.fixture
def cut(tmp_path: Path) -> Iterator[Cut]:
    """A fresh data folder, pictures of plain colours, and no network."""
    (tmp_path / "users-home").mkdir()
    lines = ["path,item_id,patient_id,text,modality,body_part"]
    for number, colour in enumerate(_COLOURS):
        # A little of its own in each, so that no two pictures are one.
        picture = toy_collection.picture(colour, 96).copy()
        picture[8 * number : 8 * number + 8] = 128
        phantoms.write_picture(tmp_path / "in" / f"{colour}.png", picture)
        lines.append(f"{colour}.png,{colour},p{number},CT of the chest {number},CT,chest")
    (tmp_path / "in" / "t.csv").write_text("\n".join(lines), "utf-8")
    with _started(tmp_path) as cut:
        yield cut


@pytest.mark.slow
@pytest.mark.parametrize("layout", WRITERS if _IS_TRIAL else _ALWAYS)
def test_that_a_model_is_imported_builds_and_searches_without_a_network(layout: str, cut: Cut):
    kind, write = WRITERS[layout]
    name = str(cut.run("encoders", "import", write(cut.top / layout))["name"])
    checked = cut.run("encoders", "check", name)
    assert (checked["kind"], checked["ok"]) == (kind, True)
    out = cut.top / "collection"
    built = cut.run("build", cut.top / "in" / "t.csv", "--out", out, "--encoder", name)
    assert (built["cases"], built["encoder"], built["skipped"]) == (len(_COLOURS), name, [])

    asked = cut.top / "in" / f"{_COLOURS[2]}.png"
    by_picture = cut.run("search", out, "--image", asked, "--against", "images")
    assert by_picture["hits"][0]["case_id"] == _COLOURS[2]
    by_words = cut.run("search", out, "--text", "chest 3")
    assert len(by_words["hits"]) == len(_COLOURS)
    evidence = {tuple(hit["evidence"]["shares"]) for hit in by_words["hits"]}
    assert any("images" in shares for shares in evidence) == ("texts" in checked["abilities"])

    # The process itself, and the child in which the model was tried.
    assert cut.audited.count("started") >= 2
    assert {line for line in cut.audited if line} == {"started"}
    assert not list((cut.top / "users-home").rglob("*huggingface*"))


@pytest.mark.slow
def test_that_a_collection_is_embedded_by_another_encoder_and_compared_without_a_network(cut: Cut):
    cut.run("encoders", "import", small_models.biomedclip(cut.top / "biomedclip"))
    out, report = cut.top / "collection", cut.top / "report.html"
    cut.run("build", cut.top / "in" / "t.csv", "--out", out)
    again = cut.run("reembed", out, "--encoder", "biomedclip")
    assert (again["added"], again["stored"]) == (len(_COLOURS), 0)
    said = cut.run("compare", out, again["out"], "--report", report)
    assert [one["encoder"] for one in said["collections"]] == ["compact", "biomedclip"]
    assert (said["pool"], report.is_file()) == (len(_COLOURS), True)
    assert {line for line in cut.audited if line} == {"started"}
