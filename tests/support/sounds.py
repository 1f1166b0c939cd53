"""Sound files of every kind that is played, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from phoned.audio.tones import sine

KINDS = {
    "opus.ogg": ("ogg", "libopus"),
    "vorbis.ogg": ("ogg", "vorbis"),
    "a.flac": ("flac", "flac"),
    "a.mp3": ("mp3", "libmp3lame"),
}
"""Name to FFmpeg's container and encoder."""


def encoded(
    path: Path, hertz: int = 800, seconds: float = 1.0, *, rate: int = 48000, channels: int = 2, **tags: str
) -> Path:
    """A sine in the format that ``path``'s name ends with (`KINDS`)."""
    kind, codec = next(value for name, value in KINDS.items() if path.name.endswith(name))
    mono = np.frombuffer(sine((hertz,), rate, round(seconds * 1000)), np.int16)
    with av.open(str(path), "w", format=kind) as container:
        container.metadata.update(tags)
        stream: Any = container.add_stream(codec, rate=rate)
        stream.codec_context.layout = "stereo" if channels == 2 else "mono"
        stream.codec_context.options = {"strict": "experimental"}
        frame = av.AudioFrame.from_ndarray(
            np.repeat(mono, channels).reshape(1, -1), format="s16", layout=stream.codec_context.layout.name
        )
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format=stream.codec_context.codec.audio_formats[0].name,
            layout=stream.codec_context.layout.name,
            rate=rate,
            frame_size=960 if codec == "libopus" else 1152,
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path
