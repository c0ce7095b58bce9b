#!/usr/bin/python3
"""Runs on a machine: sends one frame a thousand times a second, from the moment that the device is
there, and again when it is there again. So whatever opens for a moment lets something through.

    shout.py DEVICE FRAME      FRAME in hex digits
"""

import socket
import sys
import time

PAUSE = 0.001


def shout(device, frame):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as mouth:
        mouth.bind((device, 0))
        while True:
            mouth.send(frame)
            time.sleep(PAUSE)


def main(device, frame):
    print("shouting", flush=True)
    while True:
        try:
            shout(device, bytes.fromhex(frame))
        except OSError:  # No such device, for now; or it is down.
            time.sleep(PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])
