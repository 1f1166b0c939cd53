"""Recovery: what is repaired, in which order, how fast. One authority for the signalling and the media plane."""
