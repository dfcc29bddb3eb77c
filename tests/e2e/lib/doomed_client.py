"""Sends one long poll for each path, reads nothing of the answers, and waits to be killed.

    doomed_client.py PORT PATH...

Its sockets take little: a small receive buffer, and a small segment size, by which the sender's
buffer stays small, too. So the kernel cannot take a long answer as a whole. Prints `ready` once
everything is sent.
"""

import socket
import sys
import time

MARGIN = 4096
SEGMENT = 536


def poll(port, path):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MARGIN)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    sock.connect(("127.0.0.1", port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return sock


if __name__ == "__main__":
    sockets = [poll(int(sys.argv[1]), path) for path in sys.argv[2:]]
    print("ready", flush=True)
    time.sleep(60)
