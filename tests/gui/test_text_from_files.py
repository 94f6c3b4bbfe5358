"""Text from files and collections, all over the window: shown as letters, never as markup."""

from __future__ import annotations

import dataclasses

import phantoms
import toy_collection
import toy_encoder
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QWidget

from medsearch_desktop import cases
from medsearch_desktop.engine import collection
from medsearch_desktop.gui import drops

MARKUP = '<img src="file:///etc/x"><b>Doe</b>\u202e'


def write_collection(folder, pictures):
    """Write cases whose every text is markup."""
    encoder = toy_encoder.ToyEncoder()
    with collection.CollectionWriter(folder, name=MARKUP, card=encoder.card) as writer:
        for number in range(8):
            one = dataclasses.replace(
                toy_collection.case(number, pictures),
                title=MARKUP,
                text=f"{MARKUP} effusion " + "x" * 100_000,
                labels=(MARKUP,),
                facets=cases.Facets(modality="CT", body_part=MARKUP),
                provenance=cases.Provenance(MARKUP, MARKUP, "https://example.org"),
            )
            shown = toy_collection.picture(toy_collection.COLOURS[number])
            image, text = encoder.encode_images(shown[None]), encoder.encode_texts([one.text])
            writer.add(one, image, text)
        writer.commit()


def tooltips(window):
    """Return every tooltip of the widgets and of the lists."""
    told = [widget.toolTip() for widget in window.findChildren(QWidget)]
    lists = (window.strip.model, window.results.view.results_model(), window.bottom.imported.model)
    for model in lists:
        for row in range(model.rowCount()):
            tip = model.index(row, 0).data(Qt.ItemDataRole.ToolTipRole)
            told.append(tip or "")
    return [tip for tip in told if tip]


def test_that_no_text_of_a_file_or_a_collection_is_taken_as_markup(
    program, home, pictures, tmp_path
):
    write_collection(home / "collections" / "toys", pictures)
    folder = tmp_path / "<b>ct<b>"

    def name(found, k):
        found.SpecificCharacterSet = "ISO_IR 192"
        found.PatientName = found.StudyDescription = found.SeriesDescription = MARKUP
        found.PatientID = MARKUP[:16]

    phantoms.write_ct_series(folder, slices=3, change=name)
    (folder / "<img src=x>.dcm").write_bytes(b"")
    started = program("--collection", str(home / "collections" / "toys"))
    started.wait_for_collections()
    started.parts.intake.take(drops.Dropped(paths=(folder,)), drops.Zone.FIND)
    started.wait(started.answered)
    started.wait(lambda: started.window.pane.ready.all())
    started.wait(started.window.results.problems.shown)
    window = started.window
    for label in window.findChildren(QLabel):
        looks_like_markup = "<" in label.text()
        assert not looks_like_markup or label.textFormat() == Qt.TextFormat.PlainText, label.text()
        assert "\u202e" not in label.text()
    told = tooltips(window)
    assert any("&lt;img" in tip for tip in told)
    for tip in told:
        assert "<img" not in tip
        assert "\u202e" not in tip
        assert len(tip) < 20_000
    for widget in window.findChildren(QWidget):
        assert "\u202e" not in widget.accessibleName() + widget.accessibleDescription()
    assert "\u202e" not in window.windowTitle()
    assert "Doe" not in window.windowTitle()
