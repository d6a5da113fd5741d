"""The page without a browser: what programs get from it, and what it keeps from them."""

import os
import time

import gradio_client
import httpx
import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError

from nvv.demo import page as page_module
from nvv.demo.answers import answer_recording
from nvv.demo.models import Models
from nvv.demo.page import build_page
from nvv.inference.load import load_classifier


@pytest.fixture
def make_page(tmp_path, monkeypatch):
    """The function that opens a page in this process; all are closed in the end."""
    pages = []
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    (tmp_path / "served").mkdir()

    def make(*folders, **options):
        page = build_page(Models([str(folder) for folder in folders], **options), folder=tmp_path / "served")
        _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
        pages.append(page)
        return page, gradio_client.Client(url, verbose=False, analytics_enabled=False)

    yield make
    for page in pages:
        page.close(verbose=False)


def test_programs_get_the_answer_of_the_chosen_model_as_json(make_page, make_model_folder, write_recording):
    folders = [make_model_folder("one"), make_model_folder("two", method="adapter", seed=9)]
    _, client = make_page(*folders)
    short, long = write_recording(1.5, name="short.wav"), write_recording(6.0)
    for folder, path in ((folders[1], short), (folders[0], long)):
        answer = client.predict(model=folder.name, recording=handle_file(path), api_name="/classify")
        expected = answer_recording(load_classifier(str(folder)), path).as_json()
        assert answer["duration_s"] == expected["duration_s"]
        assert answer["answers"][0]["values"] == pytest.approx(expected["answers"][0]["values"], abs=1e-5)
        assert (answer["events"] is None) == (path is short)


def test_programs_get_a_message_for_what_cannot_be_answered(make_page, make_model_folder, write_recording, tmp_path):
    _, client = make_page(make_model_folder("one"))
    (tmp_path / "notes.wav").write_text("<b>no sound</b>")
    with pytest.raises(AppError, match=r"notes\.wav: not readable as audio") as raised:
        client.predict(model="one", recording=handle_file(tmp_path / "notes.wav"), api_name="/classify")
    assert "served" not in str(raised.value)
    with pytest.raises(AppError, match="not in the list of choices"):
        client.predict(model="two", recording=handle_file(write_recording(1.0)), api_name="/classify")


def test_programs_reach_no_file_of_this_machine(make_page, make_model_folder, write_recording):
    page, _ = make_page(make_model_folder("one"))
    # Not through gradio_client, which would upload the file.
    url = f"{page.local_url}gradio_api/call/classify"
    hidden = {"path": str(write_recording(1.0, name="hidden.wav")), "meta": {"_type": "gradio.FileData"}}
    for recording in (hidden, {**hidden, "meta": None}, {"path": hidden["path"]}, hidden["path"]):
        event = httpx.post(url, json={"data": ["one", recording]}).json()["event_id"]
        told = httpx.get(f"{url}/{event}").text
        assert "event: error" in told
        assert "duration_s" not in told


def test_page_has_one_public_endpoint_reports_nothing_and_loads_nothing_from_elsewhere(make_page, make_model_folder):
    page, client = make_page(make_model_folder("one"))
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/classify"]
    assert not page.analytics_enabled
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"]
    assert page.delete_cache == (300, 1800)


@pytest.mark.slow
def test_uploads_are_deleted_after_use(make_page, make_model_folder, write_recording, monkeypatch, tmp_path):
    monkeypatch.setattr(page_module, "_DELETE_EVERY_S", 1)
    monkeypatch.setattr(page_module, "_DELETE_AFTER_S", 1)
    _, client = make_page(make_model_folder("one"))
    client.predict("one", handle_file(write_recording(1.0)), api_name="/classify")
    deadline = time.monotonic() + 30
    while list((tmp_path / "served").rglob("recording.wav")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not list((tmp_path / "served").rglob("recording.wav"))


def test_other_repositories_can_be_typed_in_only_where_that_is_allowed(make_page, make_model_folder, write_recording):
    _, client = make_page(make_model_folder("one"), allow_any=True)
    recording = handle_file(write_recording(1.0))
    with pytest.raises(AppError, match="is no Hub id"):
        client.predict("../one", recording, api_name="/classify")
    with pytest.raises(AppError, match="nobody/nothing cannot be loaded"):
        client.predict("nobody/nothing", recording, api_name="/classify")
