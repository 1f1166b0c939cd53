"""Bot audio: a call's sound over a WebSocket to a program, in the protocols that bots speak already."""
