"""Media: one call's audio from socket to samples and back.

`sdp`, `rtp`, `rtcp`, `jitter`, `dtmf`, `stall` and `quality` are pure: values and bytes in, values and bytes out, time as an
argument (`numpy` in the in-band half of DTMF is their only luxury). `codecs` binds the codec libraries. `ice` and `dtls`
alone touch private attributes of aioice and aiortc. `engine`, `session`, `clock` and `graph` put the parts to work.
"""
