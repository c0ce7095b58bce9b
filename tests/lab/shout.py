#!/usr/bin/python3
"""Runs on a machine: sends one frame so many times a second, from the moment that the device is
there, and again when it is there again. So whatever opens for a moment lets something through.

    shout.py DEVICE FRAME RATE      FRAME in hex digits
"""

import socket
import sys
import time


def shout(device, frame, pause):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as mouth:
        mouth.bind((device, 0))
        while True:
            mouth.send(frame)
            time.sleep(pause)


def main(device, frame, rate):
    pause = 1 / float(rate)
    print("shouting", flush=True)
    while True:
        try:
            shout(device, bytes.fromhex(frame), pause)
        except OSError:  # No such device, for now; or it is down.
            time.sleep(pause)


if __name__ == "__main__":
    main(*sys.argv[1:])
