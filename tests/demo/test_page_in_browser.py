"""The page in a real browser: headless Chromium against the installed `nvv demo`, with no way to any other host."""

import json
import shutil
import signal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright
from typer.testing import CliRunner

from nvv.cli import app
from nvv.segmentation.formats import read_events

pytestmark = pytest.mark.slow

TIMEOUT_MS = 60_000
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")  # it beeps


@pytest.fixture
def browser(chromium):
    """The browser, which takes its sound from a device that beeps."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *MICROPHONE])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser):
    """The function that opens a page and notes its complaints and the hosts it asks."""

    def make(url):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["microphone"])
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.problems, page.hosts = [], set()
        page.on("console", lambda said: page.problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("request", lambda request: page.hosts.add(urlsplit(request.url).netloc))  # of blob: and data: none
        page.goto(url)
        page.locator("#recording input[type=file]").wait_for(state="attached")
        return page

    return make


def classified(folder, path):
    """Labels and scores as `nvv classify` gives them, the likeliest first."""
    result = CliRunner().invoke(app, ["classify", str(folder), str(path), "--format", "jsonl", "--top-k", "4"])
    assert result.exit_code == 0, result.output
    return {answer["label"]: answer["score"] for answer in json.loads(result.stdout)["labels"]}


def upload(page, path):
    clear = page.locator("#recording").get_by_label("Clear")
    if clear.count():
        clear.first.click()
    page.set_input_files("#recording input[type=file]", str(path))


def heading(page):
    return page.locator("#answer_0").get_by_test_id("label-output-value")


def bars(page):
    meters = page.locator("#answer_0 meter")
    return {meter.get_attribute("aria-label"): float(meter.get_attribute("value")) for meter in meters.all()}


def choose_model(page, name):
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name=name).click()


@pytest.fixture
def folders(make_model_folder):
    """Two models whose labels have no name in common, on one encoder."""
    return [
        make_model_folder("one", seed=1),
        make_model_folder("two", method="adapter", seed=2, labels=("hum", "gasp", "cry", "moan")),
    ]


@pytest.fixture
def served(folders, serving, nvv_command, offline_environment, tmp_path):
    """The installed command, serving both models: its address, process and log."""
    command = [nvv_command, "demo", *folders]
    with serving(
        lambda port: [*command, "--port", str(port)], environment=offline_environment, folder=tmp_path
    ) as page:
        yield page


def test_page_answers_on_files_and_the_microphone(served, open_page, folders, write_recording, tmp_path):
    url, process, log = served
    short, long = write_recording(1.7, name="short.wav"), write_recording(60.0, name="long.wav")
    expected = [classified(folder, short) for folder in folders]
    page = open_page(url)

    # A file is uploaded, and the label appears that `nvv classify` gives, with its bars.
    upload(page, short)
    expect(heading(page)).to_have_text(next(iter(expected[0])))
    assert bars(page) == pytest.approx(expected[0], abs=1e-5)
    expect(page.locator("#events")).to_be_hidden()
    expect(page.locator("#warning")).to_contain_text("random weights: these scores are no result")

    # Another model is chosen.
    choose_model(page, "two")
    expect(heading(page)).to_have_text(next(iter(expected[1])))
    assert bars(page) == pytest.approx(expected[1], abs=1e-5)
    expect(page.locator("#facts")).to_contain_text("hum, gasp, cry, moan")
    assert page.locator("#layers img").evaluate("image => image.naturalWidth") > 300

    # A long recording has a timeline, a table, and the same events as files.
    upload(page, long)
    expect(page.locator("#message")).to_contain_text("Recording of 1:00. Shown: the average over")
    expect(page.locator("#timeline img")).to_be_visible()
    page.wait_for_function("document.querySelector('#timeline img').naturalWidth > 1000")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "events.csv")
    (events,) = read_events(tmp_path / "events.csv").values()
    shutil.copy(long, tmp_path / "again.wav")
    segmented = CliRunner().invoke(app, ["segment", str(folders[1]), str(tmp_path / "again.wav")])
    assert segmented.exit_code == 0, segmented.output
    assert len(events) == len(segmented.stdout.splitlines()) - 1 > 0
    expect(page.get_by_role("grid", name="Events")).to_have_attribute("aria-rowcount", str(len(events) + 1))
    expect(page.get_by_role("grid", name="Events")).to_contain_text(events[0].label)

    # Nothing is wider than the screen, be it a telephone's.
    for width in (400, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(f"document.documentElement.scrollWidth <= {width}")

    # A file that is no sound has a message, and what stood there goes.
    (tmp_path / "notes.wav").write_text("<b>no sound</b>")
    upload(page, tmp_path / "notes.wav")
    expect(page.get_by_role("alert")).to_contain_text("notes.wav: not readable as audio")
    expect(page.locator("#answer_0")).to_have_count(0)
    expect(page.locator("#events")).to_be_hidden()
    page.problems.clear()  # the browser's own player complains about such a file, rightly

    # The microphone.
    page.locator("#recording").get_by_label("Clear").first.click()
    page.locator("#recording").get_by_label("Record audio").click()
    page.locator("#recording .record-button").click()
    page.wait_for_timeout(1500)
    page.locator("#recording .stop-button").click()
    expect(heading(page)).to_be_visible()
    expect(page.locator("#message")).to_contain_text("Shown: all of it")

    # An example of the page's own.
    page.locator("#recording").get_by_label("Clear").first.click()
    expect(page.locator("#answer_0")).to_have_count(0)
    page.get_by_role("button", name="cough").click()
    expect(heading(page)).to_be_visible()

    assert page.problems == []
    assert page.hosts - {""} == {urlsplit(url).netloc}
    assert "Traceback" not in log.read_text()

    # When it ends, nothing of what was uploaded is left.
    assert list(tmp_path.glob("temporary/nvv-demo-*"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert not list(tmp_path.glob("temporary/*"))
