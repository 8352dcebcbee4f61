"""Compiled loops: contiguous arrays in, arrays filled in place; no checks, no defaults.

Every kernel releases the interpreter lock and takes a range of rows or leaves, so that callers may share
the work among threads; a result never depends on how the range was cut.
"""
