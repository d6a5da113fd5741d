"""A small synthesizer: invented voices that laugh, sigh, scream, cough, cry, moan, hum and gasp.

It serves the first run and the tests, and says nothing about people. A clip is made as a voice makes one: a glottal
source and breath noise, shaped by gestures (bursts, wails, breaths), sent through formant resonators, then recorded in
a room that is never quite silent. The classes overlap on purpose: laughs may be voiceless, sighs voiced, and every
voice has its own pitch, vocal tract and microphone. Gestures stand in ``nvv.data.gestures``; which clips make a corpus
is decided in ``dataset_scripts/synthetic``.

Source: the source-filter model (Fant, Acoustic Theory of Speech Production, 1960), Rosenberg's glottal pulse (J.
Acoust. Soc. Am.
49, 1971, pulse C), digital resonators (Klatt, J. Acoust. Soc. Am. 67, 1980). Parameters are our own guesses, not
measurements.
"""

from __future__ import annotations

import numpy as np

from ..audio import SAMPLING_RATE
from .gestures import GESTURES, MAX_SECONDS, MIN_SECONDS, Gesture, Voice

__all__ = ["VOCALIZATIONS", "invent_voice", "synthesize"]

VOCALIZATIONS = tuple(GESTURES)
"""Classes that can be synthesized, in canonical order."""

_SEED = 20_260_101
_SPEED_OF_SOUND_CM_S = 35_000.0
_NUM_FORMANTS = 4
_FRAME = 512  # samples, 32 ms
_HOP = 128
_FFT = 1024  # twice the frame, so that a resonator's ringing does not wrap around audibly


def invent_voice(number: int) -> Voice:
    """Invent a voice; the same number gives the same voice.

    Args:
        number: Which voice, >= 0.

    Returns:
        The voice.

    Raises:
        ValueError: If the number is negative.
    """
    if number < 0:
        raise ValueError(f"A voice's number must not be negative, got {number}.")
    rng = np.random.Generator(np.random.PCG64([_SEED, 1, number]))
    size = rng.uniform()  # 0: small body, 1: large
    return Voice(
        vocal_tract_cm=13.0 + 4.5 * size + rng.normal(0.0, 0.4),
        f0_hz=float(np.clip(310.0 * 0.33**size * np.exp(rng.normal(0.0, 0.12)), 85.0, 360.0)),
        breathiness=rng.uniform(0.05, 0.6),
        tempo=rng.uniform(0.8, 1.25),
        jitter=rng.uniform(0.004, 0.025),
        shimmer=rng.uniform(0.03, 0.15),
        tilt_db_per_octave=rng.uniform(-3.0, 1.5),
        room_snr_db=rng.uniform(14.0, 32.0),
    )


def synthesize(vocalization: str, voice_number: int, *, take: int = 0) -> np.ndarray:
    """Let a voice make a sound; the same arguments give the same samples.

    Args:
        vocalization: One of `VOCALIZATIONS`.
        voice_number: Which voice, >= 0; see `invent_voice`.
        take: Which of the voice's performances, >= 0.

    Returns:
        Float32 array of shape ``(samples,)`` at 16 kHz, 0.4 to 4 s, peak below 1.

    Raises:
        ValueError: If the vocalization is unknown or a number negative.

    Example:
        >>> synthesize("laugh", 3).dtype
        dtype('float32')
    """
    if vocalization not in GESTURES:
        raise ValueError(f"Unknown vocalization {vocalization!r}; there are {', '.join(VOCALIZATIONS)}.")
    if take < 0:
        raise ValueError(f"take must not be negative, got {take}.")
    voice = invent_voice(voice_number)
    rng = np.random.Generator(np.random.PCG64([_SEED, 2, voice_number, VOCALIZATIONS.index(vocalization), take]))
    gesture = GESTURES[vocalization](voice, rng)
    sound = _filter(_source(gesture, voice, rng), gesture, voice)
    return _record(sound, voice, rng)


def _source(gesture: Gesture, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """Glottal pulses plus breath noise, shape (samples,)."""
    num_samples = len(gesture.f0_hz)
    # Period-to-period irregularity: one factor a cycle, looked up by the cycle that the undisturbed phase is in.
    steady_phase = np.cumsum(gesture.f0_hz) / SAMPLING_RATE
    num_cycles = int(steady_phase[-1]) + 2
    jitter = 1.0 + (voice.jitter + 0.06 * gesture.roughness) * rng.standard_normal(num_cycles)
    phase = np.cumsum(gesture.f0_hz * jitter[steady_phase.astype(int)]) / SAMPLING_RATE
    cycle = np.clip(phase.astype(int), 0, num_cycles - 1)
    shimmer = 1.0 + voice.shimmer * rng.standard_normal(num_cycles)
    shimmer[::2] *= 1.0 - 0.6 * gesture.roughness  # every second pulse weaker: the subharmonics of a harsh voice
    pulses = _rosenberg(phase % 1.0) * shimmer[cycle] * gesture.voicing
    noise = rng.standard_normal(num_samples) * (gesture.noise + voice.breathiness * 0.25 * gesture.voicing)
    return pulses + 0.35 * noise


def _rosenberg(phase: np.ndarray) -> np.ndarray:
    """Derivative of Rosenberg's pulse C for phases in [0, 1): opens for 40 % of a cycle, closes in 16 %, mean zero."""
    opening, closing = 0.40, 0.16
    flow = np.where(
        phase < opening,
        np.sin(np.pi * phase / opening) * np.pi / (2 * opening),
        np.where(
            phase < opening + closing,
            -np.sin(np.pi * (phase - opening) / (2 * closing)) * np.pi / (2 * closing),
            0.0,
        ),
    )
    return flow / 6.0


def _filter(source: np.ndarray, gesture: Gesture, voice: Voice) -> np.ndarray:
    """Send a source through the vocal tract, frame by frame in the frequency domain, shape (samples,)."""
    num_frames = 1 + -(-len(source) // _HOP)
    padded = np.zeros((num_frames - 1) * _HOP + _FRAME)
    padded[_FRAME // 2 : _FRAME // 2 + len(source)] = source[: len(padded) - _FRAME // 2]
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]  # (frames, samples)
    window = np.hanning(_FRAME + 1)[:-1] / 2.0  # overlap of four sums to one
    centres = np.clip(np.arange(num_frames) * _HOP, 0, len(source) - 1)
    spectrum = np.fft.rfft(frames * window, _FFT) * _vocal_tract(gesture, voice, centres)
    shaped = np.fft.irfft(spectrum, _FFT)
    output = np.zeros((num_frames - 1) * _HOP + _FFT)
    for index, frame in enumerate(shaped):
        output[index * _HOP : index * _HOP + _FFT] += frame
    return output[_FRAME // 2 : _FRAME // 2 + len(source)]


def _vocal_tract(gesture: Gesture, voice: Voice, centres: np.ndarray) -> np.ndarray:
    """Complex response of the resonators at frame centres, shape (frames, bins)."""
    delay = np.exp(-2j * np.pi * np.arange(_FFT // 2 + 1) / _FFT)[None, :]
    response = np.ones((len(centres), _FFT // 2 + 1), dtype=complex)
    openness, frontness = gesture.openness[centres], gesture.frontness[centres]
    # Formants of a uniform tube, moved by the jaw (first) and the tongue (second), as vowels are.
    factors = (0.55 + 0.95 * openness, 0.65 + 0.75 * frontness, np.full(len(centres), 1.0), np.full(len(centres), 1.0))
    for number in range(_NUM_FORMANTS):
        tube = (2 * number + 1) * _SPEED_OF_SOUND_CM_S / (4 * voice.vocal_tract_cm)
        frequency = np.clip(tube * factors[number], 150.0, 7_500.0)
        bandwidth = 60.0 + 0.05 * frequency + 120.0 * voice.breathiness + 500.0 * gesture.nasality * (number > 0)
        radius = np.exp(-np.pi * bandwidth / SAMPLING_RATE)[:, None]
        angle = (2 * np.pi * frequency / SAMPLING_RATE)[:, None]
        gain = 1.0 - 2.0 * radius * np.cos(angle) + radius**2
        response *= gain / (1.0 - 2.0 * radius * np.cos(angle) * delay + radius**2 * delay**2)
    frequency_hz = np.arange(_FFT // 2 + 1) * SAMPLING_RATE / _FFT
    closed_lips = 1.0 / (1.0 + (frequency_hz / 500.0) ** 2)
    return response * ((1.0 - gesture.nasality) + gesture.nasality * closed_lips)[None, :]


def _record(sound: np.ndarray, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """Put a sound into a room and before a microphone, shape (samples,)."""
    lead, tail = (int(rng.uniform(0.0, 0.25) * SAMPLING_RATE) for _ in range(2))
    longest = round(MAX_SECONDS * SAMPLING_RATE)
    sound = np.pad(sound[:longest], (lead, tail))[:longest]
    sound = np.pad(sound, (0, max(0, round(MIN_SECONDS * SAMPLING_RATE) - len(sound))))
    size = 1 << (len(sound) - 1).bit_length()  # a power of two: other lengths take many times as long
    frequency_hz = np.fft.rfftfreq(size, 1.0 / SAMPLING_RATE)
    octaves = np.log2(np.maximum(frequency_hz, 60.0) / 1_000.0)
    tilt = 10.0 ** ((voice.tilt_db_per_octave + rng.normal(0.0, 1.0)) * octaves / 20.0)
    sound = np.fft.irfft(np.fft.rfft(sound, size) * tilt, size)[: len(sound)]
    colour = 10.0 ** (rng.uniform(-6.0, 0.0) * octaves / 20.0)  # from white to a little steeper than pink
    room = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * colour, size)[: len(sound)]
    snr_db = voice.room_snr_db + rng.normal(0.0, 4.0)
    room *= np.sqrt(np.mean(sound**2) / np.mean(room**2)) * 10.0 ** (-snr_db / 20.0)
    mixed = sound + room
    peak = 10.0 ** (rng.uniform(-20.0, -1.0) / 20.0)
    return (mixed * peak / np.max(np.abs(mixed))).astype(np.float32)
