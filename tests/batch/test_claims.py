"""Who runs what: seeded races between drivers, and drivers that are gone."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest

from labkit.batch import liveness
from labkit.batch.claims import driving
from labkit.batch.folder import Folder
from labkit.batch.liveness import DRIVERS, Drivers
from tests.batch.stubs import PLACES, asked, jobs, place

ANY = lambda status: True  # noqa: E731


def not_done(status):
    return status is None or status["state"] != "done"


@pytest.fixture(params=PLACES)
def folder(request, tmp_path):
    return asked(place(request.param, tmp_path), jobs(3))


def begin(driver, run, state="running"):
    driver.begin(run, {"id": run, "state": state})


def end(driver, run, state="done"):
    assert driver.update(run, {"id": run, "state": state})
    driver.release(run)


def test_a_run_is_taken_once(folder):
    run = folder.asked()[0].id
    with driving(folder) as one, driving(folder) as two:
        assert one.claim(run, ANY) == {}
        assert two.claim(run, ANY) is None, "claimed, though it has no status yet"
        begin(one, run)
        assert two.claim(run, ANY) is None
        assert two.busy(folder.status(run))
        end(one, run)
        assert two.claim(run, not_done) is None
        before = two.claim(run, ANY)
        assert (before["state"], before["driver"]["token"]) == ("done", one.token)
        begin(two, run)
        assert folder.status(run)["driver"]["claim"] == 2
        assert not one.update(run, {"id": run, "state": "failed"}), "it is another's now"
        end(two, run)
    assert not [name for name in folder.store.names(".labkit") if "notebooks" not in name]


def test_what_a_driver_leaves_behind_is_taken_over(folder):
    run = folder.asked()[0].id
    with driving(folder) as two:
        with driving(folder) as one:
            one.claim(run, ANY)
        assert two.claim(run, ANY) == {}, "claimed only"
        begin(two, run)
    assert folder.statuses()[0]["state"] == "stale"
    with driving(folder) as three:
        assert three.claim(run, ANY)["driver"]["token"] == two.token
        begin(three, run)
        assert folder.statuses()[0]["state"] == "running"
        end(three, run)
    assert folder.statuses()[0]["state"] == "done"


def test_a_run_begins_in_an_empty_folder(folder):
    run = folder.asked()[0].id
    folder.deliver(run, {"results.json": b"of the attempt before", "sub/x": b""})
    with driving(folder) as driver:
        driver.claim(run, ANY)
        begin(driver, run)
        assert folder.files(run) == []


@pytest.mark.parametrize("moment", ["before the claim", "after the claim"])
def test_a_run_that_ends_while_we_look_is_not_taken(folder, monkeypatch, moment):
    run = folder.asked()[0].id
    with driving(folder) as fast, driving(folder) as slow:
        create = folder.store.create

        def meanwhile(name, data):
            monkeypatch.undo()
            made = create(name, data) if moment == "after the claim" else None
            # The fast one saw nothing either, and is through before we go on.
            number = 2 if made else 1
            folder.store.create(f".labkit/claims/{run}.{number}", fast.token.encode())
            fast._claims[run] = [f".labkit/claims/{run}.{number}"]
            begin(fast, run)
            end(fast, run)
            return create(name, data) if made is None else made

        monkeypatch.setattr(folder.store, "create", meanwhile)
        assert slow.claim(run, not_done) is None
        monkeypatch.undo()
        assert folder.status(run)["driver"]["token"] == fast.token
    assert not [n for n in folder.store.names(".labkit/claims") if n.startswith(run)]


@pytest.mark.parametrize("seed", range(5))
def test_many_drivers_run_everything_once(tmp_path, seed):
    """Threads with drivers of their own; some give up in the middle of a run."""
    batch = [job.id for job in jobs(12)]
    asked(tmp_path, jobs(12))
    done: list[str] = []
    current: set[str] = set()
    twice: list[str] = []
    lock = threading.Lock()
    gate = threading.Barrier(4)

    def work(who):
        chance = random.Random(100 * seed + who)
        folder = Folder(tmp_path)
        gate.wait()
        while True:
            with driving(folder) as driver:
                runs = [run for run in batch if not_done(folder.status(run))]
                if not runs:
                    return
                for run in chance.sample(runs, len(runs)):
                    if driver.claim(run, not_done) is None:
                        continue
                    with lock:
                        twice.extend([run] if run in current else [])
                        current.add(run)
                    begin(driver, run)
                    time.sleep(chance.random() / 500)
                    with lock:
                        current.discard(run)
                    if chance.random() < 0.3:
                        break  # without a word: the driver is gone
                    end(driver, run)
                    with lock:
                        done.append(run)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == sorted(batch), "done twice, or not at all"
    assert not twice, "two had the same run at once"


# --- signs of life ---------------------------------------------------------------------


def test_a_driver_gives_signs_of_life_and_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(liveness, "HEARTBEAT", 0.02)
    folder = asked(tmp_path, jobs(1))
    with driving(folder) as driver:
        file = tmp_path / DRIVERS / f"{driver.token}.json"
        for _ in range(3):
            os.utime(file, (1000, 1000))
            deadline = time.monotonic() + 30
            while file.stat().st_mtime < 2000:
                assert time.monotonic() < deadline, "no heartbeat"
                time.sleep(0.005)
        assert Drivers(folder.store).alive(driver.token)
    assert not file.exists()
    assert threading.active_count() == sum(
        t.name != "labkit-heartbeat" for t in threading.enumerate()
    )


def test_an_empty_claim_is_being_written(tmp_path):
    """Where there are no links, a claim is made before it is filled."""
    (run,) = jobs(1)
    folder = asked(tmp_path, [run])
    folder.store.write(f".labkit/claims/{run.id}.1", b"")
    file = tmp_path / ".labkit/claims" / f"{run.id}.1"
    with driving(folder) as driver:
        assert driver.claim(run.id, ANY) is None
        os.utime(file, (time.time() - 61,) * 2)
        assert driver.claim(run.id, ANY) == {}
