"""What lasts: one SQLite file with one writer thread, the registration identity, the tokens of the control API."""
