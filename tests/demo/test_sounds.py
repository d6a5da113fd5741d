from nvv.audio import audio_duration
from nvv.demo.answers import EVENTS_FROM_S
from nvv.demo.sounds import write_examples


def test_examples_are_two_short_sounds_and_a_long_recording_that_say_they_are_computed(tmp_path):
    examples = write_examples(tmp_path / "examples")
    seconds = [audio_duration(example.path) for example in examples]
    assert max(seconds[:2]) < EVENTS_FROM_S
    assert seconds[2] == 40
    assert all("computed" in example.path.name for example in examples)
