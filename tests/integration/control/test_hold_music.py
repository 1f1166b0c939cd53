"""Music on hold as its users have it, over a daemon that is killed."""

from __future__ import annotations

from pathlib import Path

from phoned.sandbox.measure import melody, write_wav
from tests.support.child import until
from tests.support.exchange import Exchange, Phone


def test_a_held_call_has_music_also_after_the_daemon_was_killed(exchange: Exchange, tmp_path: Path) -> None:
    music = tmp_path / "music.wav"
    write_wav(music, melody(16_000, 3.0), 16_000)
    with Phone(exchange, user="bob", audio={"hold_music": str(music)}) as phone:
        phone.start()
        call = phone.calling("silence")
        assert phone.stats(call)["sent_dbov"] < -60
        phone.verb(call, "hold")
        until(lambda: phone.stats(call)["sent_dbov"] > -40, "music")
        phone.die()
        phone.again()
        phone.wait_ready()
        until(lambda: phone.stats(call)["sent_dbov"] > -40, "music again", 15.0)
        assert phone.call(call)["hold"]["local"]
        phone.verb(call, "unhold")
        until(lambda: phone.stats(call)["sent_dbov"] < -60, "silence")
        phone.verb(call, "hangup")
