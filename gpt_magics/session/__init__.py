"""The session: the one paced client of this kernel. It owns the clock, the loop and the sockets."""
