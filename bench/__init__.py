"""Measurements against the peers: every figure in the documentation comes from here.

Each side of a comparison runs in a process of its own, and the two take turns call by call, so that whatever
the machine does meanwhile happens to both. CPU seconds stand beside wall seconds, because a thread that spins
while it waits costs the machine as much as one that works.
"""
