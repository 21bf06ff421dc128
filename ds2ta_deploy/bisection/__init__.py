"""Bisection: find the first wrong integer, explain it, and write it down so that one command replays it."""
