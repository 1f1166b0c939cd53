"""Recordings of calls: written off the loop, valid at every moment, finished after a crash."""
