"""The page itself: a model and a recording go in; label bars, a timeline and what the model is come out.

Answers come from the neighbour `answers`, descriptions from `facts`, files from `pictures`; serving it is left to
`serve`. Nothing is loaded from other hosts, nothing is reported to anybody. Own work.
"""

from __future__ import annotations

import html
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ..segmentation.formats import FORMATS, write_events
from ..segmentation.timeline import clock_time
from .answers import Answer, Events, answer_recording
from .facts import ModelDescription, describe_model
from .models import Models
from .pictures import write_layer_picture
from .sounds import Example

__all__ = ["CSS", "TITLE", "build_page", "page_theme"]

TITLE = "Non-verbal vocalizations"

_DELETE_EVERY_S, _DELETE_AFTER_S = 300, 1800
_TOP_CLASSES = 6
_FAILURES = (ValueError, OSError)  # what this package raises for files and models that cannot be used
_FILE_TITLES = {
    "csv": "CSV",
    "json": "JSON",
    "audacity": "Audacity labels",
    "textgrid": "Praat TextGrid",
    "rttm": "RTTM",
    "picture": "Picture",
}
_EVENT_HEADERS = ["start", "end", "label", "score"]

_INTRODUCTION = (
    "Record a voice or choose a file: the model says which vocalization it hears, and in a long recording when. "
    f"Recordings stay on this server and are deleted within {(_DELETE_EVERY_S + _DELETE_AFTER_S) // 60} minutes."
)
_NOTHING_YET = "What the model hears stands here as soon as there is a recording."
_NO_LAYER_WEIGHTS = "This model has no layer weights: it reads one layer of its encoder only."
_ABOUT_LAYERS = (
    "How much each layer of the encoder counts in the sum that the model answers from. Learned in training, the same "
    "for every recording."
)

CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
#warning, #message .problem { border: 1px solid; border-radius: 8px; padding: 10px 14px; overflow-wrap: anywhere; }
#warning { background: #fffaf0; border-color: #dd6b20; color: #7b341e; }
#message .problem { background: #fff5f5; border-color: #c53030; color: #742a2a; }
#recording, #events_table { contain: inline-size; } /* what is wide scrolls, rather than widen the page */
#files, #examples { flex-wrap: wrap; }
#facts dl { display: grid; grid-template-columns: 8.5em 1fr; margin: 0; }
#facts dt, #facts dd { border-bottom: 1px solid var(--border-color-primary); margin: 0; overflow-wrap: anywhere;
    padding: 7px 4px; }
#facts dt { color: var(--body-text-color-subdued); }
"""
"""What the page adds to gradio's own style."""


def page_theme() -> gr.Theme:
    """Return the page's colours and fonts, all of which gradio brings along."""
    return gr.themes.Default(primary_hue="blue", secondary_hue="blue", neutral_hue="slate")


def build_page(models: Models, *, folder: Path, examples: Sequence[Example] = ()) -> gr.Blocks:
    """Lay out the page and say what happens on it.

    Args:
        models: the models to choose among.
        folder: where pictures and downloads are written, inside the folder that gradio serves from (its
            `GRADIO_TEMP_DIR`), so that it deletes them after use.
        examples: recordings to try it with.

    Returns:
        The page, ready to launch.

    Raises:
        nvv.inference.load.ModelError: for a first model that cannot be loaded; the others are loaded when chosen.
    """
    first = models.shown[0]
    actions = _Actions(models, folder=folder)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(_DELETE_EVERY_S, _DELETE_AFTER_S)) as page:
        gr.Markdown(f"# {TITLE}\n{_INTRODUCTION}")
        warning, facts, layers, no_layers = actions.describe(first)
        warning_part = gr.HTML(**warning, elem_id="warning", padding=False)
        answer = gr.State()
        with gr.Row():
            with gr.Column(min_width=300):
                chooser = gr.Dropdown(
                    models.shown,
                    value=first,
                    label="Model",
                    info="Or type the id of another repository on the Hub." if models.allow_any else None,
                    allow_custom_value=models.allow_any,
                    elem_id="model",
                )
                recording = gr.Audio(
                    sources=["upload", "microphone"],
                    type="filepath",
                    label="Recording",
                    buttons=[],
                    elem_id="recording",
                )
                _offer_examples(examples, recording)
            with gr.Column(min_width=300):
                message = gr.HTML(_plain(_NOTHING_YET), elem_id="message", padding=False)
                gr.render(inputs=answer, triggers=[answer.change], show_progress="hidden")(_show_answers)
        with gr.Column(visible=False, elem_id="events") as events_part:
            gr.Markdown("## Timeline")
            timeline = gr.Image(show_label=False, interactive=False, buttons=["fullscreen"], elem_id="timeline")
            caveats = gr.Markdown(elem_id="caveats")
            events = gr.Dataframe(
                headers=_EVENT_HEADERS,
                datatype=["str", "str", "str", "number"],
                label="Events",
                interactive=False,
                max_height=360,
                buttons=[],
                elem_id="events_table",
            )
            with gr.Row(elem_id="files"):
                files = [gr.DownloadButton(title, size="sm", min_width=110) for title in _FILE_TITLES.values()]
        gr.Markdown("## The model")
        with gr.Row():
            with gr.Column(min_width=300):
                facts_part = gr.HTML(**facts, elem_id="facts", padding=False)
            with gr.Column(min_width=300):
                gr.Markdown("### Which layers matter")
                layers_part = gr.Image(
                    **layers, show_label=False, interactive=False, buttons=["fullscreen"], elem_id="layers"
                )
                layers_text = gr.Markdown(**no_layers, elem_id="layers_text")

        heard = [answer, message, events_part, timeline, caveats, events, *files]
        described = [warning_part, facts_part, layers_part, layers_text]
        one_at_a_time = {"concurrency_id": "models", "concurrency_limit": 1, "trigger_mode": "always_last"}
        gr.on(
            [recording.change, chooser.change],
            actions.listen,
            [chooser, recording],
            heard,
            api_visibility="private",
            show_progress_on=[message],
            **one_at_a_time,
        )
        chooser.change(
            actions.describe_again,
            chooser,
            described,
            api_visibility="private",
            show_progress="hidden",
            **one_at_a_time,
        )
        # For programs (gradio_client): the same answer as JSON, and an error where the page shows a message.
        gr.Button(visible=False).click(
            actions.classify, [chooser, recording], gr.JSON(visible=False), api_name="classify", **one_at_a_time
        )
    return page


class _Actions:
    """What happens on the page.

    Args:
        models: as in `build_page`.
        folder: as in `build_page`.
    """

    def __init__(self, models: Models, *, folder: Path) -> None:
        self._models = models
        self._folder = folder

    def classify(self, model: str, recording: str) -> dict[str, Any]:
        """Return a model's answer on a recording: labels with probabilities or numbers, and events where it is long."""
        try:
            return self._answer(model, recording).as_json()
        except _FAILURES as error:
            raise gr.Error(html.escape(str(error)), print_exception=False) from error

    def listen(self, model: str, recording: str | None) -> tuple[Any, ...]:
        """Return what stands on the page after a recording or a model was chosen."""
        nothing = (gr.Column(visible=False), None, None, None, *(None for _ in _FILE_TITLES))
        if recording is None:
            return None, _plain(_NOTHING_YET), *nothing
        try:
            answer = self._answer(model, recording)
            shown = nothing if answer.events is None else self._show_events(answer.events, stem=Path(recording).stem)
        except _FAILURES as error:
            return None, _problem(str(error)), *nothing
        return answer.as_json()["answers"], _plain(_shown_part(answer)), *shown

    def _show_events(self, events: Events, *, stem: str) -> tuple[Any, ...]:
        """Return what the part with the timeline shows."""
        folder = tempfile.mkdtemp(dir=self._folder)
        written = write_events(events.segmentation, folder, stem, tuple(_FILE_TITLES), envelope=events.envelope)
        files = {file.suffix: str(file) for file in written}
        paths = {name: files[FORMATS[name]] for name in _FILE_TITLES}
        rows = [
            [
                clock_time(event.start_s, decimals=1),
                clock_time(event.end_s, decimals=1),
                event.label,
                round(event.score, 2),
            ]
            for event in events.segmentation.events
        ]
        return (
            gr.Column(visible=True),
            paths["picture"],
            " ".join(events.caveats),
            {"headers": _EVENT_HEADERS, "data": rows},
            *paths.values(),
        )

    def _answer(self, model: str, recording: str) -> Answer:
        with self._models.using(model) as classifier:
            return answer_recording(classifier, Path(recording))

    def describe(self, model: str) -> tuple[dict[str, Any], ...]:
        """Return the properties of the parts that say what a model is."""
        with self._models.using(model) as classifier:
            description = describe_model(classifier, self._models.name_of(model))
            picture = None
            if description.layer_weights is not None:
                path = Path(tempfile.mkdtemp(dir=self._folder)) / "layers.png"
                picture = str(write_layer_picture(path, description.layer_weights, classifier))
        return (
            {"value": _warning(description), "visible": bool(description.warnings)},
            {"value": _facts_list(description)},
            {"value": picture, "visible": picture is not None},
            {"value": _NO_LAYER_WEIGHTS if picture is None else _ABOUT_LAYERS},
        )

    def describe_again(self, model: str) -> tuple[Any, ...]:
        """Return the parts that say what a model is, after another was chosen."""
        try:
            warning, facts, layers, text = self.describe(model)
        except _FAILURES:  # said where the answers stand
            warning, facts, layers, text = ({"visible": False}, {"value": ""}, {"visible": False}, {"value": ""})
        return gr.HTML(**warning), gr.HTML(**facts), gr.Image(**layers), gr.Markdown(**text)


# ----------------------------------------------------------------------------------------------------------------------
# Pieces of the page
# ----------------------------------------------------------------------------------------------------------------------


def _offer_examples(examples: Sequence[Example], recording: gr.Audio) -> None:
    """Put a button for each example, which puts it where recordings go.

    Not with `gr.Examples`, whose copies of the files are deleted after a while like any other.
    """
    if not examples:
        return
    gr.Markdown("Computed sounds to try it with:")
    with gr.Row(elem_id="examples"):
        for example in examples:
            button = gr.Button(example.title, size="sm", min_width=110)
            button.click(partial(str, example.path), outputs=recording, api_visibility="private", queue=False)


def _show_answers(answers: Sequence[Mapping[str, Any]] | None) -> None:
    """Put label bars, or a table of numbers, for each thing that the model says."""
    for number, answer in enumerate(answers or ()):
        is_numbers = answer["kind"] == "numbers"
        common = {
            "label": answer["task"] or ("Numbers" if is_numbers else "Labels"),
            "buttons": [],
            "elem_id": f"answer_{number}",
        }
        if is_numbers:
            rows = [[name, round(value, 3)] for name, value in answer["values"].items()]
            gr.Dataframe(rows, headers=["name", "value"], datatype=["str", "number"], interactive=False, **common)
        else:
            gr.Label(answer["values"], num_top_classes=_TOP_CLASSES, **common)


def _shown_part(answer: Answer) -> str:
    """Say how long the recording is, and which part of it the answers are about."""
    seconds = answer.duration_s
    duration = f"{seconds:.1f} s" if seconds < 60 else clock_time(seconds)
    return f"Recording of {duration}. Shown: {'; '.join(dict.fromkeys(task.about for task in answer.tasks))}."


def _plain(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _problem(text: str) -> str:
    return f'<div class="problem" role="alert">{html.escape(text)}</div>'


def _warning(description: ModelDescription) -> str:
    return "<br>".join(html.escape(warning) for warning in description.warnings)


def _facts_list(description: ModelDescription) -> str:
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in description.facts.items()
    )
    return f"<dl>{rows}</dl>"
