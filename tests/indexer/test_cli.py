"""The command line: what each command prints, and its exit status."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pytest
import toy_encoder

from indexer import cli, search
from medsearch_desktop import errors
from medsearch_desktop.engine import collection
from medsearch_desktop.gui import collection_list, rebuilding

COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four plain pictures, their colours in words, and a report without a picture."""
    lines = ["path,item_id,text,labels,modality,licence"]
    for name in COLOURS:
        picture = np.full((32, 32, 3), toy_encoder.COLOURS[name], np.uint8)
        phantoms.write_picture(tmp_path / "in" / f"{name}.png", picture)
        kind = "CT" if name == "red" else "X-ray"
        lines.append(f"{name}.png,{name},A {name} effusion.,{name}|drawn,{kind},CC0-1.0")
    lines.append(",report,Normal chest without findings.,,MRI,CC0-1.0")
    (tmp_path / "in" / "t.csv").write_text("\n".join(lines), "utf-8")
    return tmp_path / "in" / "t.csv"


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command with --json and return (status, object)."""

    def call(*words: object) -> tuple[int, dict[str, Any]]:
        status = cli.main([*map(str, words), "--json"])
        printed = capsys.readouterr()
        assert printed.err == ""
        return status, json.loads(printed.out)

    return call


def _built(run: Any, table: Path, *words: object) -> Path:
    out = table.parent.parent / "collection"
    status, report = run("build", table, "--out", out, "--encoder", toy_encoder.NAME, *words)
    assert status == 0, report
    return out


def test_that_a_build_says_how_many_cases_it_holds(run: Any, table: Path) -> None:
    out = table.parent.parent / "c"
    status, report = run(
        "build", table, "--out", out, "--encoder", toy_encoder.NAME, "--name", "Colours"
    )
    assert status == 0
    assert (report["cases"], report["added"], report["images"], report["skipped"]) == (5, 5, 4, [])
    assert (report["name"], report["encoder"]) == ("Colours", toy_encoder.NAME)
    assert run("verify", out) == (0, {"path": str(out), "ok": True, "problems": []})


def test_that_words_and_pictures_find_the_case_that_shows_them(run: Any, table: Path) -> None:
    out = _built(run, table)
    status, by_words = run("search", out, "--text", "green effusion")
    assert status == 0
    assert by_words["hits"][0]["case_id"] == "green"
    _, by_picture = run("search", out, "--image", table.parent / "blue.png")
    assert by_picture["hits"][0]["case_id"] == "blue"
    assert by_picture["hits"][0]["images"][0] == {
        "path": str(table.parent / "blue.png"),
        "frame": 0,
        "score": pytest.approx(1, abs=1e-3),
    }


def test_that_an_answer_has_the_promised_keys(run: Any, table: Path) -> None:
    out = _built(run, table)
    _, answer = run("search", out, "--text", "red effusion", "--top", 2)
    assert {"query", "took_ms", "total", "complete", "fingerprint", "facets", "hits"} <= set(answer)
    assert {"total", "encode", "vectors", "words", "rank"} <= set(answer["took_ms"])
    assert answer["complete"] is True
    assert len(answer["hits"]) == 2
    hit = answer["hits"][0]
    assert {"rank", "case_id", "collection", "score", "strength", "title", "text", "facets"} | {
        "labels",
        "provenance",
        "images",
        "evidence",
        "folded",
    } <= set(hit)
    assert (hit["rank"], hit["case_id"], hit["strength"]) == (1, "red", None)
    assert hit["collection"] == str(out)
    assert hit["labels"] == ["red", "drawn"]
    assert hit["facets"] == {"modality": "CT", "origin": "real"}
    assert hit["provenance"]["licence"] == "CC0-1.0"
    assert {"vector_rank", "word_rank", "words"} <= set(hit["evidence"])
    assert {word for word, _ in hit["evidence"]["words"]} == {"red", "effusion"}


def test_that_a_volume_finds_the_case_made_of_its_slices(run: Any, tmp_path: Path) -> None:
    phantoms.write_ct_series(tmp_path / "src" / "a", slices=6, name="a", formula=phantoms.body)
    phantoms.write_ct_series(tmp_path / "src" / "b", slices=6, name="b")
    out = tmp_path / "c"
    status, report = run("build", tmp_path / "src", "--out", out, "--encoder", toy_encoder.NAME)
    assert (status, report["cases"], report["images"]) == (0, 2, 12)
    _, answer = run("search", out, "--volume", tmp_path / "src" / "b")
    paths = {image["path"] for image in answer["hits"][0]["images"]}
    assert {str(Path(path).parent) for path in paths} == {str(tmp_path / "src" / "b")}


def test_that_an_encoder_which_does_without_the_gpu_asked_for_says_so(
    run: Any, table: Path
) -> None:
    out = table.parent.parent / "c"
    words = ("build", table, "--out", out, "--encoder", toy_encoder.NAME, "--device", "cuda:0")
    _, report = run(*words)
    assert report["notices"] == [f"The encoder {toy_encoder.NAME} runs on the CPU, not on cuda:0."]
    _, answer = run("search", out, "--text", "red", "--device", "mps")
    assert any("runs on the CPU, not on mps" in notice for notice in answer["notices"])


def test_that_a_device_of_the_environment_is_checked_too(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSEARCH_DEVICE", "gpu")
    status, report = run("encoders", "check", toy_encoder.NAME)
    assert (status, report["error"]["type"]) == (2, "QuerySyntaxError")


def test_that_a_folder_of_several_series_says_which_one_was_asked(
    run: Any, table: Path, tmp_path: Path
) -> None:
    out = _built(run, table)
    phantoms.write_ct_series(tmp_path / "two" / "a", slices=4, name="a")
    phantoms.write_ct_series(tmp_path / "two" / "b", slices=6, name="b")
    _, answer = run("search", out, "--volume", tmp_path / "two")
    assert answer["notices"] == ["2 series are in two; the one with the most slices, 6, was asked."]


def test_that_a_collection_given_twice_is_searched_once(run: Any, table: Path) -> None:
    out = _built(run, table)
    _, answer = run("search", out, out, "--text", "red effusion")
    assert answer["query"]["collections"] == [str(out)]
    assert [hit["case_id"] for hit in answer["hits"]].count("red") == 1


def test_that_filters_like_and_unlike_narrow_the_answer(run: Any, table: Path) -> None:
    out = _built(run, table)
    _, only = run("search", out, "--text", "effusion", "--filter", "modality=XR and not label=blue")
    assert {hit["case_id"] for hit in only["hits"]} == {"green", "yellow"}
    _, away = run("search", out, "--text", "effusion", "--not-text", "2:red")
    assert away["query"]["terms"][1] == {"kind": "text", "words": "red", "weight": -2.0}
    assert away["hits"][-1]["case_id"] in ("red", "report")
    _, like = run("search", out, "--like", "red")
    assert like["query"]["terms"] == [
        {"kind": "case", "case_id": "red", "collection": str(out), "weight": 1.0}
    ]


def test_that_a_least_strength_is_taken_and_its_absence_is_told(run: Any, table: Path) -> None:
    out = _built(run, table)
    status, answer = run("search", out, "--text", "red", "--min-strength", "50")
    assert status == 0
    assert answer["hits"]
    assert ["not calibrated" in notice for notice in answer["notices"]] == [True]


def test_that_a_least_cosine_leaves_out_what_is_farther(run: Any, table: Path) -> None:
    out = _built(run, table)
    _, answer = run(
        "search", out, "--image", table.parent / "red.png", "--against", "images",
        "--min-cosine", "0.99",
    )  # fmt: skip
    assert [hit["case_id"] for hit in answer["hits"]] == ["red"]


def test_that_add_puts_more_cases_in_and_skips_those_that_are_there(run: Any, table: Path) -> None:
    out = _built(run, table, "--limit", 3)
    status, report = run("add", out, table)
    assert (status, report["added"], report["cases"], report["generation"]) == (3, 2, 5, 2)
    assert len(report["skipped"]) == 3
    _, answer = run("search", out, "--text", "yellow")
    assert answer["hits"][0]["case_id"] == "yellow"


def test_that_an_add_of_known_rows_leaves_the_collection_as_it_was(run: Any, table: Path) -> None:
    out = _built(run, table)
    status, report = run("add", out, table)
    assert (status, report["added"], report["cases"], report["generation"]) == (3, 0, 5, 1)
    assert report["notices"] == [
        "Nothing new was found in the inputs; the collection is as it was."
    ]
    assert run("verify", out)[1]["ok"]


def test_that_a_collection_is_built_again_by_all_parts_of_its_recipe(run: Any, table: Path) -> None:
    out = _built(run, table, "--limit", 2, "--slices-per-volume", 3)
    other = table.with_name("other.csv")
    other.write_text("file,item_id,text\nblue.png,second,Another one.\n", "utf-8")
    assert run("add", out, other, "--columns", "path=file")[0] == 0
    info = collection_list.read_info(out)
    assert [(part.limit, part.slices_per_volume) for part in info.parts] == [(2, 3), (None, 24)]
    assert (info.cases, info.has_sources) == (3, True)
    for _ in range(2):  # the second time all is there already, as after a kill
        for words in rebuilding.words(info, is_demo=False):
            assert cli.main([*words[:1], "--quiet", *words[1:]]) == 0
    again = collection_list.read_info(rebuilding.beside(out))
    assert (again.cases, again.parts, again.name) == (3, info.parts, info.name)


def test_that_what_to_do_follows_a_whole_sentence(home: Path, capsys: Any) -> None:
    assert cli.main(["encoders", "check", "none"]) == 1
    sentence, action = capsys.readouterr().err.splitlines()
    assert sentence.endswith("model.")
    assert action == errors.EncoderMissingError.action


def test_that_stats_count_what_is_inside(run: Any, table: Path) -> None:
    out = _built(run, table)
    status, report = run("stats", out)
    assert status == 0
    assert report["counts"]["cases"] == 5
    assert report["counts"]["images"] == 4
    assert report["facets"]["modality"] == {"DX": 3, "CT": 1, "MR": 1}
    assert report["sources"] == ["in/t.csv"]


def test_that_skipped_inputs_are_listed_and_give_status_3(run: Any, table: Path) -> None:
    (table.parent / "red.png").unlink()
    (table.parent / "blue.png").write_bytes(b"no picture")
    out = table.parent.parent / "c"
    status, report = run("build", table, "--out", out, "--encoder", toy_encoder.NAME)
    assert (status, report["cases"]) == (3, 3)
    with (out / "skipped.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in rows] == ["red.png", "blue.png"]
    assert [row["reason"] for row in rows] == [one["reason"] for one in report["skipped"]]
    assert all(row["reason"].endswith(".") for row in rows)


def test_that_a_build_of_which_nothing_is_usable_fails_with_the_first_reason(
    run: Any, tmp_path: Path
) -> None:
    bad = tmp_path / "t.csv"
    bad.write_text("path\nnothing.png\n", "utf-8")
    status, report = run(
        "build", bad, "--out", tmp_path / "c", "--encoder", toy_encoder.NAME
    )  # fmt: skip
    assert status == 1
    assert "no such file" in report["error"]["message"]
    assert not (tmp_path / "c" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("words", "status", "kind", "message"),
    [
        (["build", "IN"], 2, "UsageError", "--out"),
        (["frobnicate"], 2, "UsageError", "frobnicate"),
        (["search", "DIR", "--text", "x", "--filter", "age>=60"], 2, "QuerySyntaxError", "age"),
        (["search", "DIR"], 2, "QuerySyntaxError", "nothing to search"),
        (["search", "DIR", "--text", "x", "--min-strength", "101"], 2, "QuerySyntaxError", "101"),
        (["search", "DIR", "--text", "0:x"], 2, "QuerySyntaxError", "weight 0"),
        (["search", "DIR", "--text", "x", "--device", "gpu"], 2, "UsageError", "'gpu'"),
        (["encoders", "check", "compact", "--device", "cuda:"], 2, "UsageError", "'cuda:'"),
        (["search", "DIR", "--text", "x", "--top", "0"], 2, "QuerySyntaxError", "1 to 200"),
        (["search", "DIR", "--text", "x"], 1, "CollectionError", "no collection"),
        (["search", "DIR", "--image", "gone.png"], 1, "UnreadableFileError", "gone.png"),
        (["stats", "DIR"], 1, "CollectionError", "no collection"),
        (["verify", "DIR"], 1, "CollectionError", "no collection"),
        (["build", "gone", "--out", "DIR"], 1, "UnreadableFileError", "no such"),
        (["build", "IN", "--out", "IN/t.csv"], 1, "CollectionError", "is a file"),
        (["build", "IN", "--out", "IN/t.csv/x"], 1, "CollectionError", "cannot be written"),
        (["build", "IN", "--out", "IN"], 1, "CollectionError", "not empty"),
        (["build", "IN", "--out", "DIR", "--columns", "id=nr"], 1, "TableError", "no column 'nr'"),
        (["build", "IN", "--out", "DIR", "--columns", "nr"], 2, "QuerySyntaxError", "--columns"),
        (["build", "IN", "--out", "DIR", "--encoder", "none"], 1, "EncoderMissingError", "none"),
        (["encoders", "check", "none"], 1, "EncoderMissingError", "none"),
    ],
)
def test_that_each_error_is_a_sentence_an_action_and_a_status(
    run: Any, table: Path, words: list[str], status: int, kind: str, message: str
) -> None:
    names = {"IN": str(table.parent), "DIR": str(table.parent.parent / "none")}
    named = [word.replace("IN/", f"{table.parent}/") for word in words]
    if "build" in words and "--encoder" not in words and status == 1:
        named += ["--encoder", toy_encoder.NAME]
    if "IN" in words:
        named = [*named, "--input-format", "csv"]
        table.rename(table.with_name("manifest.csv"))
        (table.parent / "t.csv").write_text("text\nx\n", "utf-8")
    found, report = run(*(names.get(word, word) for word in named))
    assert (found, report["error"]["type"]) == (status, kind)
    assert message in report["error"]["message"]
    assert report["error"]["action"]
    assert set(report) == {"error"}


def test_that_a_collection_that_stands_is_not_built_over(run: Any, table: Path) -> None:
    out = _built(run, table)
    status, report = run("build", table, "--out", out, "--encoder", toy_encoder.NAME)
    assert (status, report["error"]["type"]) == (1, "CollectionError")
    assert "add" in report["error"]["message"]


def test_that_a_damaged_collection_gives_status_4_and_names_the_file(run: Any, table: Path) -> None:
    out = _built(run, table)
    thumbs = next(out.glob("segments/*/thumbs.bin"))
    content = bytearray(thumbs.read_bytes())
    content[len(content) // 2] ^= 1
    thumbs.write_bytes(content)
    status, report = run("verify", out)
    assert (status, report["ok"]) == (4, False)
    assert "thumbs.bin" in report["problems"][0]
    for command in (("search", out, "--text", "x"), ("stats", out)):
        status, report = run(*command)
        assert status == 0
        assert "thumbs.bin differs from its checksum" in report["notices"][0]
    next(out.glob("segments/*/cases.db")).unlink()
    status, report = run("search", out, "--text", "x")
    assert (status, report["error"]["type"]) == (4, "CollectionDamagedError")
    assert "cases.db is missing" in report["error"]["message"]
    assert run("repair", out)[0] == 4


def test_that_a_dry_run_counts_and_writes_nothing(run: Any, table: Path) -> None:
    out = table.parent.parent / "c"
    status, report = run("build", table, "--out", out, "--dry-run")
    assert (status, report["cases"], report["images"], report["skipped"]) == (0, 5, 4, 0)
    assert not out.exists()


def test_that_the_encoders_and_the_installation_are_described(run: Any, home: Path) -> None:
    status, report = run("encoders", "check", toy_encoder.NAME)
    assert (status, report["ok"], report["ran"]) == (0, True, {"images": True, "texts": True})
    status, report = run("check")
    assert status == 0, report
    assert report["folders"]["home"]["path"] == str(home)
    assert report["libraries"]["pydicom"]
    assert report["other_owners"] == {}


def test_that_without_json_a_person_reads_lines_and_errors_go_to_stderr(
    home: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = table.parent.parent / "c"
    words = ["build", str(table), "--out", str(out), "--encoder", toy_encoder.NAME]
    assert cli.main(words) == 0
    assert "5 cases in all" in capsys.readouterr().out
    assert cli.main(["search", str(out), "--text", "red"]) == 0
    assert "1. A red effusion" in capsys.readouterr().out
    assert cli.main(words) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 2
    assert cli.main(["stats", str(out), "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_that_progress_as_json_is_on_stderr_beside_the_result(
    home: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = table.parent.parent / "c"
    words = ["build", str(table), "--out", str(out), "--encoder", toy_encoder.NAME, "--json"]
    assert cli.main([*words, "--progress", "json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["cases"] == 5
    lines = [json.loads(line) for line in printed.err.splitlines()]
    assert lines[-1]["stage"] == "done"
    assert {"stage", "done", "total", "skipped"} <= set(lines[0])


def _many(tmp_path: Path, count: int) -> Path:
    for number in range(count):
        colour = list(toy_encoder.COLOURS.values())[number % 8]
        phantoms.write_picture(
            tmp_path / "many" / f"{number:04d}.png", np.full((300, 300, 3), colour, np.uint8)
        )
    return tmp_path / "many"


def _started(home: Path, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "indexer", *map(str, words), "--json", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MEDSEARCH_TEST_ENCODER": toy_encoder.NAME},
    )


def _wait_for_rows(out: Path) -> None:
    deadline = time.monotonic() + 60
    vectors = out / "building" / "images.f16"
    while not (vectors.exists() and vectors.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_that_an_interrupted_build_says_130_and_resumes_where_it_stopped(
    run: Any, home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c"
    words = ("build", _many(tmp_path, 400), "--out", out, "--encoder", toy_encoder.NAME)
    with _started(home, *words, "--batch-size", 8) as child:
        _wait_for_rows(out)
        child.send_signal(signal.SIGINT)
        printed, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    first = json.loads(printed)
    assert first["interrupted"] is True
    assert 0 < first["added"] < 400
    assert not (out / "manifest.json").exists()
    status, report = run(*words, "--resume")
    assert status == 0
    assert (report["resumed"], report["cases"]) == (first["added"], 400)
    assert collection.verify(out) == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_that_a_killed_build_leaves_nothing_in_the_way_of_the_next(
    run: Any, home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c"
    words = ("build", _many(tmp_path, 60), "--out", out, "--encoder", toy_encoder.NAME)
    with _started(home, *words, "--batch-size", 4) as child:
        _wait_for_rows(out)
        child.kill()
        child.communicate(timeout=60)
    status, report = run(*words)
    assert (status, report["cases"], report["resumed"]) == (0, 60, 0)
    assert collection.verify(out) == []


def test_that_the_log_of_a_build_names_no_file_and_no_patient(
    run: Any, home: Path, tmp_path: Path
) -> None:
    phantoms.write_ct_series(tmp_path / "Canary" / "ct", slices=2)
    (tmp_path / "Canary" / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    run("build", tmp_path / "Canary", "--out", tmp_path / "c", "--encoder", toy_encoder.NAME)
    told = "".join(path.read_text("utf-8") for path in (home / "logs").iterdir())
    assert "Canary" not in told
    assert "Phantom" not in told


def test_that_the_command_line_starts_without_qt_and_torch() -> None:
    words = "import sys, indexer.cli; print([m for m in ('torch', 'PySide6') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.pack
def test_that_a_chest_ct_of_the_pack_finds_ct(run: Any, pack: Path, tmp_path: Path) -> None:
    out = tmp_path / "c"
    sources = (pack / "vqa-med-2019" / "manifest.csv", pack / "covid-chestxray" / "manifest.csv")
    status, report = run("build", *sources, "--out", out)
    assert (status, report["cases"]) == (0, 1207)
    _, answer = run("search", out, "--volume", pack / "dicom-series" / "ct_chest_lidc0314")
    kinds = [hit["facets"].get("modality") for hit in answer["hits"]]
    assert len(kinds) == 20
    assert kinds.count("CT") >= 15


@pytest.mark.parametrize(
    "words",
    [
        ("--text", "red", "--min-cosine", "nan"),
        ("--text", "red", "--min-cosine", "1.5"),
        ("--text", "nan:red"),
        ("--text", "1e400:red"),
        ("--not-text", "inf:red"),
        ("--text", "9" * 400 + ":red"),
    ],
)
def test_that_a_number_that_is_none_is_wrong_usage(
    run: Any, tmp_path: Path, words: tuple[str, ...]
) -> None:
    status, report = run("search", tmp_path, *words)
    assert (status, report["error"]["type"]) == (2, "QuerySyntaxError")


def test_that_a_weight_may_be_written_with_an_exponent_and_a_colon_stays_a_colon() -> None:
    (half, words) = search.terms([("text", "5e-1:red"), ("text", "Nanny: red")])
    assert (half.weight, half.words) == (0.5, "red")
    assert (words.weight, words.words) == (1.0, "Nanny: red")


def test_that_a_case_that_is_nowhere_is_no_question(run: Any, table: Path) -> None:
    out = _built(run, table)
    status, report = run("search", out, "--like", "nonexist")
    assert (status, report["error"]["type"]) == (1, "InputError")
    assert "nonexist" in report["error"]["message"]
    status, report = run("search", out, "--like", "nonexist", "--text", "red")
    assert status == 0
    assert any("nonexist" in notice for notice in report["notices"])


@pytest.mark.parametrize("command", ["stats", "verify"])
def test_that_a_file_is_said_to_be_no_folder(run: Any, table: Path, command: str) -> None:
    status, report = run(command, table)
    assert status == 1
    assert "it is no folder" in report["error"]["message"]
