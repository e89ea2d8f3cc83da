"""ZeroMQ sockets and their pressure rules. The only room that imports zmq."""
