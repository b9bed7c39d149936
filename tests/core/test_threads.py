from __future__ import annotations

import threading

import pytest
import torch

from labkit.core.threads import one_thread


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_one_inside_and_as_before_afterwards(threads):
    with one_thread():
        assert torch.get_num_threads() == 1
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads


def test_an_error_inside_restores_too(threads):
    with pytest.raises(ZeroDivisionError), one_thread():
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == threads


def test_another_thread_keeps_its_own(threads):
    """A run on its thread does not slow down what the notebook's own thread computes."""
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with one_thread():
            inside.set()
            leave.wait(30)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    assert inside.wait(30)
    meanwhile = torch.get_num_threads()
    leave.set()
    worker.join(30)
    assert (meanwhile, torch.get_num_threads()) == (threads, threads)
