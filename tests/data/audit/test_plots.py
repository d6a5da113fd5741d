import dataclasses

from matplotlib import image

from nvv.data.audit.plots import write_plots


def test_page_is_drawn_without_labels_speakers_or_sound(audit_sounds, sound, tmp_path):
    report = audit_sounds(sound(b"", None, None), sound(b"0", None, None, "test"), name="nothing")
    path = write_plots(report, tmp_path / "page.png")
    assert image.imread(path).shape[:2] == (990, 1870)  # 9 by 17 inches, 110 dots each


def test_page_shows_what_was_measured(clean_report, audit_sounds, clean_sounds, tmp_path):
    clean = image.imread(write_plots(clean_report, tmp_path / "clean.png"))
    shared = [dataclasses.replace(one, speaker="one") for one in clean_sounds]
    leaking = image.imread(write_plots(audit_sounds(*shared, name="clean"), tmp_path / "leaking.png"))
    height, width, _ = clean.shape
    top, bottom = slice(60, height // 2 - 30), slice(height // 2 + 30, height)
    # Only the plot of speakers, the fourth of the upper row, differs.
    assert (clean[top, 3 * width // 4 + 40 :] != leaking[top, 3 * width // 4 + 40 :]).any()
    assert (clean[bottom] == leaking[bottom]).all()
