"""Write a computed copy of Hume-VB in its official layout, to try the recipes of this folder without the corpus.

    python recipes/hume_vb/synthetic_tree.py runs/synthetic_hume_vb
    accelerate launch recipes/train.py recipes/hume_vb/two.yaml recipes/hume_vb/small.yaml \
        --data_dir runs/synthetic_hume_vb --output_dir runs/two

480 bursts of 0.3 to 1.5 s by invented speakers; the targets follow from the sound by fixed rules. No score on them is
evidence about people: what is made from this tree says so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nvv.data.synthetic_hume_vb import TASKS, write_synthetic_hume_vb


def main() -> None:
    """Read the options and write the tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", type=Path, help="new or empty folder")
    parser.add_argument(
        "--num_clips",
        nargs=3,
        type=int,
        default=(240, 120, 120),
        metavar=("TRAIN", "VAL", "TEST"),
        help="clips of each part",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", nargs="+", default=TASKS, help="label files to write, of " + ", ".join(TASKS))
    parser.add_argument("--no_speakers", action="store_true", help="leave out ExVo's table of speakers")
    parser.add_argument("--missing_share", type=float, default=0.0, help="share of the targets left empty")
    parser.add_argument("--withhold_test", action="store_true", help="placeholders for the targets of the test part")
    options = parser.parse_args()
    try:
        root = write_synthetic_hume_vb(
            options.output_dir,
            num_clips=options.num_clips,
            seed=options.seed,
            tasks=options.tasks,
            with_speakers=not options.no_speakers,
            missing_share=options.missing_share,
            withhold_test=options.withhold_test,
        )
    except (ValueError, FileExistsError) as error:
        # These messages say what to mend; a traceback would bury them.
        sys.exit(f"{type(error).__name__}: {error}")
    print(f"{sum(options.num_clips)} computed clips in {root}")


if __name__ == "__main__":
    main()
