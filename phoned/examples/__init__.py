"""Bots to read, to try and to begin from. Each runs as soon as the configuration has its table."""
