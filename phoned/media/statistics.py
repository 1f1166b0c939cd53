"""A session's counters as the view that people and programs read."""

from __future__ import annotations

from phoned.media.quality import mos, one_way_delay_s
from phoned.media.stream import Stream
from phoned.media.transport import SecureTransport
from phoned.model import StatsView


def stats_view(stream: Stream, transport: SecureTransport, since: tuple[int, int] = (0, 0)) -> StatsView:
    """All counters since the session began; the MOS is an estimate of what we hear. It and the loss are those since so
    many packets had been received and lost."""
    sender, receiver = stream.sender, stream.receiver
    statistics = receiver.statistics
    received = statistics.packets_total - since[0]
    lost = max(0, statistics.lost_total - since[1])  # a packet that comes late is lost no more
    loss = lost / (received + lost) if received + lost else 0.0
    rtt_s = stream.rtcp.rtt_s if stream.rtcp.rtt_s is not None else transport.path.rtt_s
    score = None
    if received and receiver.codec_name is not None:
        delay_s = one_way_delay_s(rtt_s=rtt_s, jitter_buffer_s=receiver.buffer_s)
        score = mos(codec=receiver.codec_name, loss=loss, delay_s=delay_s)
    return StatsView(
        codec=sender.codec_name,
        packets_sent=sender.packets,
        packets_received=statistics.packets_total,
        bytes_sent=sender.bytes,
        bytes_received=receiver.bytes,
        packets_lost=statistics.lost_total,
        loss_pct=round(loss * 100, 2),
        jitter_ms=round(statistics.jitter_s * 1000, 2),
        rtt_ms=None if rtt_s is None else round(rtt_s * 1000, 1),
        mos=None if score is None else round(score, 2),
        concealed_ms=receiver.concealed_ms,
        sent_dbov=round(stream.graph.sent.dbov, 1),
        received_dbov=round(stream.graph.heard.dbov, 1),
        local=transport.path.local,
        remote=transport.path.remote,
        dtls_generation=transport.generation,
        ice_generation=transport.path.generation,
    )
