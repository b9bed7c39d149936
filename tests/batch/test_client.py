"""The client's own part: that an answer is looked for, not only waited for."""

from __future__ import annotations

import asyncio
from queue import Empty

import pytest

from labkit.batch import client
from labkit.batch.client import watchful


class Channel:
    """A channel that wakes nobody: what is there is found by those who look."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.waits: list[float] = []

    async def get_msg(self, timeout: float | None = None) -> str:
        assert timeout is not None, "it would wait for ever"
        self.waits.append(timeout)
        await asyncio.sleep(timeout)
        if len(self.waits) < self.looks:
            raise Empty
        return "the answer"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(client, "LOOK", 0.01)


def test_an_answer_that_wakes_nobody_is_found():
    channel = Channel(looks=4)
    assert asyncio.run(watchful(channel.get_msg)()) == "the answer"
    assert channel.waits == [0.01] * 4


def test_a_limit_holds():
    channel = Channel(looks=1000)
    with pytest.raises(Empty):
        asyncio.run(watchful(channel.get_msg)(timeout=0.055))
    assert max(channel.waits) <= 0.01
    assert sum(channel.waits) < 0.07


def test_what_is_there_already_is_taken_without_waiting():
    channel = Channel(looks=1)
    assert asyncio.run(watchful(channel.get_msg)(timeout=0)) == "the answer"
    assert channel.waits == [0.0]
