"""What a recording holds: the frequency and level of a tone, the digits of DTMF, silence. And sounds to send."""

from __future__ import annotations

import math
import struct
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]

ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
KEYS = ("123A", "456B", "789C", "*0#D")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """The strongest spectral line of a sound."""

    frequency_hz: float
    level_dbfs: float
    """Of the whole sound; a full-scale sine has -3."""
    purity: float
    """The part of the energy within 30 Hz of the line, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Mono samples between -1 and 1."""

    samples: Samples
    rate: int

    @classmethod
    def from_pcm16(cls, data: bytes, rate: int) -> Sound:
        """Little-endian 16-bit samples."""
        return cls(np.frombuffer(data, dtype="<i2").astype(np.float64) / 32768, rate)

    @classmethod
    def from_wav(cls, path: Path) -> tuple[Sound, ...]:
        """Each channel of a WAV file of 16-bit samples."""
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise ValueError(f"{path}: {8 * file.getsampwidth()}-bit samples")
            channels, rate = file.getnchannels(), file.getframerate()
            whole = cls.from_pcm16(file.readframes(file.getnframes()), rate)
        return tuple(cls(whole.samples[channel::channels], rate) for channel in range(channels))

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    @property
    def level_dbfs(self) -> float:
        """RMS level; digital silence is -120."""
        if not len(self.samples):
            return -120.0
        return max(-120.0, 20 * math.log10(float(np.sqrt(np.mean(self.samples**2))) + 1e-12))

    def last(self, seconds: float) -> Sound:
        """Its end."""
        return Sound(self.samples[-round(seconds * self.rate) :], self.rate)

    def between(self, start_s: float, end_s: float) -> Sound:
        """A part of it."""
        return Sound(self.samples[round(start_s * self.rate) : round(end_s * self.rate)], self.rate)

    def tone(self) -> Tone:
        """Its strongest line above 100 Hz."""
        windowed = self.samples * np.hanning(len(self.samples))
        power = np.abs(np.fft.rfft(windowed)) ** 2
        frequencies = np.fft.rfftfreq(len(self.samples), 1 / self.rate)
        power[frequencies < 100] = 0
        total = float(power.sum())
        if total == 0:
            return Tone(frequency_hz=0.0, level_dbfs=self.level_dbfs, purity=0.0)
        peak = float(frequencies[int(np.argmax(power))])
        near = float(power[np.abs(frequencies - peak) <= 30].sum())
        return Tone(frequency_hz=peak, level_dbfs=self.level_dbfs, purity=near / total)

    def strength(self, frequency_hz: float) -> float:
        """The part of the energy within 30 Hz of a frequency, 0 to 1."""
        power = np.abs(np.fft.rfft(self.samples * np.hanning(len(self.samples)))) ** 2
        frequencies = np.fft.rfftfreq(len(self.samples), 1 / self.rate)
        near = float(power[np.abs(frequencies - frequency_hz) <= 30].sum())
        return near / (float(power.sum()) or 1.0)

    def audible(self, block_s: float = 0.02, threshold_dbfs: float = -45.0) -> list[bool]:
        """For each block, whether it is louder than the threshold."""
        size = round(block_s * self.rate)
        blocks = (self.samples[at : at + size] for at in range(0, len(self.samples) - size + 1, size))
        return [Sound(block, self.rate).level_dbfs > threshold_dbfs for block in blocks]

    def dtmf(self, block_s: float = 0.02, hop_s: float = 0.005, pause_s: float = 0.025) -> str:
        """The digits that are heard as pairs of tones; a shorter break than ``pause_s`` does not repeat a digit."""
        size, hop = round(block_s * self.rate), round(hop_s * self.rate)
        turn = np.arange(size) / self.rate
        probes = {f: np.exp(-2j * np.pi * f * turn) for f in (*ROWS, *COLUMNS)}
        digits, previous, run, last_at = "", "", 0, 0
        for at in range(0, len(self.samples) - size + 1, hop):
            key = _key(self.samples[at : at + size], probes)
            run = run + 1 if key == previous else 1
            previous = key
            if key and run >= 3:
                # the blocks of two tones overlap by a block
                if not digits.endswith(key) or at - last_at > (pause_s + block_s) * self.rate:
                    digits += key
                last_at = at
        return digits


def _key(block: Samples, probes: Mapping[int, npt.NDArray[np.complex128]]) -> str:
    energy = float(np.sum(block**2)) * len(block) / 2
    if energy / len(block) ** 2 < 1e-5:
        return ""
    power = {f: abs(complex(np.dot(block, probe))) ** 2 / energy for f, probe in probes.items()}
    row, column = max(ROWS, key=lambda f: power[f]), max(COLUMNS, key=lambda f: power[f])
    if power[row] + power[column] < 0.75 or min(power[row], power[column]) < 0.15:
        return ""
    return KEYS[ROWS.index(row)][COLUMNS.index(column)]


def sine(frequency_hz: float, seconds: float, rate: int = 8000, amplitude: float = 0.35) -> Samples:
    """A tone."""
    samples: Samples = amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate)
    return samples


def write_wav(path: Path, samples: Samples, rate: int = 8000) -> Path:
    """A mono WAV file of 16-bit samples."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def write_pcmu(path: Path, samples: Samples) -> Path:
    """Raw G.711 mu-law, as sipp's rtp_stream sends it."""

    def encode(sample: float) -> int:
        value = round(sample * 32767)
        sign = 0x80 if value < 0 else 0
        magnitude = min(abs(value), 32635) + 132
        exponent = max(0, magnitude.bit_length() - 8)
        return ~(sign | exponent << 4 | magnitude >> (exponent + 3) & 15) & 0xFF

    path.write_bytes(struct.pack(f"{len(samples)}B", *(encode(float(sample)) for sample in samples)))
    return path
