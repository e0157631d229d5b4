"""How fast? Pure rules: header readings, mirrored buckets, a lane's queue, what to retry.

Nothing here knows a clock, a loop or a socket: every function takes ``now`` in seconds.
"""
