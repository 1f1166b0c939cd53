"""Media: one call's audio from socket to samples and back.

`sdp`, `rtp`, `rtcp`, `jitter`, `dtmf`, `stall` and `quality` are pure: values and bytes in, values and bytes out,
time as an argument; `tones` is the audible half of DTMF. `codecs` binds the codec libraries. `ice` and `dtls`
alone touch private attributes of aioice and aiortc. `engine`, `session`, `clock` and `graph` put the parts to work.
"""
