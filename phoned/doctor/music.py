"""Can the music on hold be played?"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from phoned.doctor.chain import Chain
from phoned.errors import PhonedError
from phoned.media.hold_music import open_playable

DEADLINE_S = 5.0
RATE = 16_000
FIX = "name a sound file that phoned may read in [audio] hold_music, or take the key out: far ends then hear silence"


async def check(chain: Chain, file: Path) -> None:
    """The check ``hold_music``."""
    readers = ThreadPoolExecutor(1, thread_name_prefix="doctor-music")
    try:
        async with asyncio.timeout(DEADLINE_S):
            (await open_playable(file, RATE, readers)).close()
    except TimeoutError:
        chain.failed(f"{file}: no answer within {DEADLINE_S:g} s", "see whether the disk hangs (dmesg)")
    except PhonedError as error:
        chain.failed(f"{file}: {error.detail}", FIX)
    except OSError as error:
        chain.failed(f"{file}: {error.strerror}", FIX)
    else:
        chain.passed(f"{file} can be played")
    finally:
        readers.shutdown(wait=False)
