"""A worker whose builders misbehave, each in its own way."""

from __future__ import annotations

import os
import sys
import time

import labkit
from labkit.deploy.runtimes import builders, worker


def crashes(task):
    os.abort()


def hangs(task):
    time.sleep(600)


def exits(task):
    print("out of luck", flush=True)
    os._exit(3)


def raises(task):
    raise RuntimeError("the operator `Foo`\n   is unknown\n" + "x" * 1000)


def chatters(task):
    print('{"answer": "not an answer"}')  # what libraries print is none
    return []


def finds(task):
    return [labkit.__file__, *sys.path]


builders.BUILDERS.update(
    finds=finds, crashes=crashes, hangs=hangs, exits=exits, raises=raises, chatters=chatters
)

if __name__ == "__main__":
    worker.main()
