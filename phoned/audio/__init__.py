"""Sources and sinks that touch the machine: files, tones, ports for other programs, sound devices."""
