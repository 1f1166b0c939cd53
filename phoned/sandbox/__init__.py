"""The sandbox: an exchange in a box (registrar, test lines, calls, fault switches), built from the SIP core itself.

For the demo, `phoned sandbox`, the doctor and fast tests. The running daemon never imports it.
"""
