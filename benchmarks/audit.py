"""How well `nvv audit` finds copies in real recordings: recall by kind of change, false alarms, time.

    python benchmarks/audit.py --data-dir RAW/nonverbal_vocalization --json audit.json

`RAW/nonverbal_vocalization` is the public sample of the Deeply Nonverbal Vocalization Dataset (727 clips). Copies are
made in memory, planted among all originals, and looked for as the command does. The clips are whole, and cut to the
loudest second, half second and 0.3 s. Tables are printed in Markdown; `benchmarks/audit.md` has the figures of one run.
"""

import argparse
import io
import itertools
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from scipy import fft, signal
from tqdm.auto import tqdm

from nvv.data.audit import duplicates
from nvv.data.audit.duplicates import MAX_BIT_ERROR_RATE, MIN_CORRELATION
from nvv.data.audit.fingerprint import NUM_BITS, Fingerprint, fingerprint, to_8khz
from nvv.data.audit.index import find_candidates

RATE = 16_000
MIN_SHARED = 0.5
PERCENTILES = (50, 99, 99.9, 99.99, 100)


def stored(waveform: np.ndarray, rate: int = RATE, *, container: str = "WAV", subtype: str = "PCM_16") -> np.ndarray:
    """Encode and decode again."""
    stream = io.BytesIO()
    soundfile.write(stream, waveform, rate, format=container, subtype=subtype)
    stream.seek(0)
    return soundfile.read(stream, dtype="float32")[0]


def at_8khz_and_back(waveform: np.ndarray) -> np.ndarray:
    """Store at 8 kHz, then at 16 kHz again."""
    low = stored(signal.resample_poly(waveform, 1, 2), RATE // 2)
    return stored(signal.resample_poly(low, 2, 1))


def delayed(waveform: np.ndarray, seconds: float, *, noise: float = 0.0) -> np.ndarray:
    """Put silence, or soft noise, before the sound; not a whole number of frames."""
    own_noise = np.random.default_rng(zlib.crc32(waveform.tobytes()))  # shared noise would be a copied recording
    before = own_noise.standard_normal(round(seconds * RATE)) * noise * np.abs(waveform).max()
    return stored(np.concatenate([before, waveform]))


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "20 dB softer": lambda x: stored(0.1 * x),
    "20 dB louder, what exceeds full scale clipped": lambda x: stored(10 * x),
    "1.03 s of silence before": lambda x: delayed(x, 1.0317),
    "2.5 s of silence after": lambda x: stored(np.pad(x, (0, round(2.5 * RATE)))),
    "0.7 s of noise (-60 dB) before": lambda x: delayed(x, 0.7031, noise=1e-3),
    "first quarter cut off": lambda x: stored(x[len(x) // 4 :]),
    "MP3": lambda x: stored(x, container="MP3", subtype="MPEG_LAYER_III"),
    "Ogg Vorbis": lambda x: stored(x, container="OGG", subtype="VORBIS"),
    "Ogg Opus": lambda x: stored(x, container="OGG", subtype="OPUS"),
    "FLAC": lambda x: stored(x, container="FLAC"),
    "µ-law": lambda x: stored(x, subtype="ULAW"),
    "IMA ADPCM, 4 bit": lambda x: stored(x, subtype="IMA_ADPCM"),
    "24 bit": lambda x: stored(x, subtype="PCM_24"),
    "8 bit linear": lambda x: stored(x, subtype="PCM_U8"),
    "to 8 kHz and back": at_8khz_and_back,
    "8 kHz, 12 dB softer, 0.8 s before, MP3": lambda x: stored(
        delayed(0.25 * at_8khz_and_back(x), 0.8123), container="MP3", subtype="MPEG_LAYER_III"
    ),
}


def loudest_part(waveform: np.ndarray, seconds: float | None) -> np.ndarray:
    """Cut out the part with the most energy; None: keep all."""
    if seconds is None or len(waveform) <= seconds * RATE:
        return waveform
    length = round(seconds * RATE)
    power = np.concatenate([[0], np.cumsum(np.square(waveform, dtype=np.float64))])
    return waveform[np.argmax(power[length:] - power[:-length]) :][:length]


def heard(waveform: np.ndarray) -> np.ndarray:
    """Resample as the audit does."""
    return to_8khz(waveform, RATE)


def recall(clips: list[np.ndarray], every: int) -> dict[str, dict[str, float]]:
    """Plant a copy of one clip in `every` among all clips, one kind of change at a time."""
    originals = [heard(clip) for clip in clips]
    marks = [fingerprint(waveform) for waveform in originals]
    chosen = list(range(0, len(clips), every))
    results = {}
    for name, change in tqdm(CHANGES.items()):
        copies = [heard(change(clips[number])) for number in chosen]
        waveforms = originals + copies
        found = duplicates.find_near_duplicates(marks + [fingerprint(copy) for copy in copies], waveforms.__getitem__)
        pair_of = {(pair.first, pair.second): pair for pair in found}
        true = [pair_of.pop((number, len(clips) + place), None) for place, number in enumerate(chosen)]
        kept = [pair for pair in true if pair is not None]
        results[name] = {
            "recall": len(kept) / len(chosen),
            "false_alarms": len(pair_of),
            "bit_error_rate_median": float(np.median([pair.bit_error_rate for pair in kept])),
            "bit_error_rate_95": float(np.percentile([pair.bit_error_rate for pair in kept], 95)),
            "correlation_5": float(np.percentile([pair.correlation for pair in kept], 5)),
            "correlation_median": float(np.median([pair.correlation for pair in kept])),
        }
    return results


def all_pairs(clips: list[np.ndarray]) -> dict[str, object]:
    """Score every pair of different clips at the lag that suits it best, without the index that spares most of them."""
    waveforms = [heard(clip) for clip in clips]
    marks = [fingerprint(waveform) for waveform in waveforms]
    evened = [duplicates.even_out(waveform) for waveform in waveforms]
    size = fft.next_fast_len(2 * max(len(mark.words) for mark in marks), real=True)
    signs, sounding = (
        np.stack(list(spectra)) for spectra in zip(*(_spectra(mark, size) for mark in marks), strict=True)
    )
    rates, correlations = [], []
    for first in tqdm(range(len(marks) - 1)):
        agreeing = fft.irfft(np.einsum("kbf,bf->kf", signs[first + 1 :], np.conj(signs[first])), size)
        shared = np.rint(fft.irfft(sounding[first + 1 :] * np.conj(sounding[first]), size))
        for place, second in enumerate(range(first + 1, len(marks))):
            least = MIN_SHARED * min(marks[first].num_active, marks[second].num_active)
            rate = np.where(
                shared[place] >= max(1, least),
                0.5 - agreeing[place] / (2 * NUM_BITS * np.maximum(shared[place], 1)),
                1.0,
            )
            best = int(rate.argmin())
            shift = best if best < len(marks[second].words) else best - size
            lag = shift + marks[second].start - marks[first].start
            rates.append(float(rate[best]))
            correlations.append(duplicates.correlation(evened[first], evened[second], lag=lag))
    rates_array, correlations_array = np.array(rates), np.array(correlations)
    passing = rates_array <= MAX_BIT_ERROR_RATE
    return {
        "pairs": len(rates),
        "bit_error_rate": dict(
            zip(map(str, PERCENTILES), np.percentile(rates_array, [100 - p for p in PERCENTILES]).tolist(), strict=True)
        ),
        "correlation": dict(
            zip(map(str, PERCENTILES), np.percentile(correlations_array, PERCENTILES).tolist(), strict=True)
        ),
        "pass_bit_error_rate": int(passing.sum()),
        "largest_correlations_of_those": sorted(correlations_array[passing].tolist(), reverse=True)[:5],
        "pass_both": int((passing & (correlations_array >= MIN_CORRELATION)).sum()),
    }


def _spectra(mark: Fingerprint, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of the bits as signs, zero where the clip is silent (bits, frequencies), and of where it sounds."""
    bits = (mark.words[None, :] >> np.arange(NUM_BITS, dtype=np.uint32)[:, None]) & 1
    signs = (2.0 * bits - 1.0) * mark.active
    return fft.rfft(signs, size).astype(np.complex64), fft.rfft(mark.active.astype(float), size)


def scaling(clips: list[np.ndarray], factor: int) -> dict[str, float]:
    """Time the comparison of `factor` times the clips, each time at another speed, so that none is a copy."""
    waveforms = [heard(clip) for clip in clips]
    marks: list[Fingerprint | None] = []
    started = time.perf_counter()
    for step, waveform in itertools.product(range(factor), waveforms):
        speed = 0.7 * 2 ** (step / factor)
        places = np.arange(int(len(waveform) / speed)) * speed
        marks.append(fingerprint(np.interp(places, np.arange(len(waveform)), waveform)))
    fingerprinted = time.perf_counter()
    candidates = find_candidates(marks)
    found = time.perf_counter()
    aligned = duplicates._best_alignments(candidates, marks)
    return {
        "clips": len(marks),
        "hours": sum(len(mark.words) for mark in marks if mark is not None) * 0.016 / 3600,
        "fingerprints_s": fingerprinted - started,
        "candidates_s": found - fingerprinted,
        "alignment_s": time.perf_counter() - found,
        "candidates": len(candidates),
        "to_be_correlated": len(aligned),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="copy one clip in so many")
    parser.add_argument("--seconds", type=float, nargs="*", default=[1.0, 0.5, 0.3], help="cut clips to")
    parser.add_argument("--scale", type=int, nargs="*", default=[1, 8, 28], help="times the clips, for the time")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = sorted(path for path in options.data_dir.rglob("*.wav") if not path.name.startswith("."))
    whole = [soundfile.read(path, dtype="float32")[0] for path in files]
    results: dict[str, object] = {"clips": len(whole), "scaling": [scaling(whole, factor) for factor in options.scale]}
    for seconds in (None, *options.seconds):
        clips = [loudest_part(clip, seconds) for clip in whole]
        name = "whole" if seconds is None else f"{seconds:g} s"
        results[name] = {"recall": recall(clips, options.every), "different": all_pairs(clips)}
        print(
            f"\n## {name}\n\n| change | recall | false alarms | bit errors, median | 95 % | correlation, 5 % | median |"
        )
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for change, row in results[name]["recall"].items():
            print(
                f"| {change} | {100 * row['recall']:.1f} % | {row['false_alarms']} "
                f"| {row['bit_error_rate_median']:.3f} | {row['bit_error_rate_95']:.3f} "
                f"| {row['correlation_5']:.2f} | {row['correlation_median']:.2f} |"
            )
        print("\ndifferent recordings:", json.dumps(results[name]["different"]))
    print("\nscaling:", json.dumps(results["scaling"], indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
