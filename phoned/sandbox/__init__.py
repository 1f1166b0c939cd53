"""The sandbox: an exchange in a box (SIP over WebSocket, registrar, test lines, fault switches), built from the SIP core.

For the demo, `phoned sandbox`, the doctor and fast tests. The running daemon never imports it.
"""
