"""Make a long recording with known events from the clips of a corpus, to try `nvv segment` on and to score it.

    python recipes/long_recording.py --corpus synthetic --duration_minutes 10 --output_dir runs/long_recording
    nvv segment MODEL runs/long_recording/recording.flac --reference runs/long_recording/reference.csv

Clips of one split stand at chance places in coloured noise, at a signal-to-noise ratio drawn for each; reference.csv
says where (file, start_s, end_s, label), exact to the sample. The recording is written block by block, so that its
length is limited by the disk alone. YAML files come first, options override them; `--help` lists all of them.
"""

from __future__ import annotations

import sys

from nvv.audio import AudioError
from nvv.data import CorpusError
from nvv.segmentation.generated import GenerationError
from nvv.segmentation.generation_arguments import PROGRAM, GenerationArguments, default_output_dir, make_recording
from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.config_files import parse_groups

EXAMPLE = f"python {PROGRAM} --corpus synthetic --duration_minutes 10 --output_dir runs/long_recording"


def main() -> None:
    """Read the arguments, write the recording and its reference, and say what is in them."""
    try:
        arguments, data = parse_groups(
            sys.argv[1:],
            (GenerationArguments, DataArguments),
            program=PROGRAM,
            default_output_dir=default_output_dir,
            example=EXAMPLE,
        )
        made = make_recording(arguments, data)
    except (ArgumentsError, AudioError, CorpusError, FileNotFoundError, GenerationError) as error:
        # These messages say what to mend; a traceback would bury them.
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted; nothing half-written was left behind.")
    print(f"recording: {made.recording} ({made.duration_s:.1f} s)")
    print(f"reference: {made.reference} ({len(made.events)} events)")


if __name__ == "__main__":
    main()
