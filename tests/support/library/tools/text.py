"""Refers back to the package that imports it."""

import socket

import support.library.tools as package

OPEN = socket.socket  # only named here
unpicklable = (line for line in ())


def shout(words: str) -> str:
    return loud(words) + package.MARK


def loud(words: str) -> str:
    return words.upper()
