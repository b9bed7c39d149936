"""A run's journal: what is written is there at once, and a line cut short is left out."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from labkit.batch.journal import Journal, read_journal


def test_events_come_back_in_order_with_their_times(tmp_path):
    before = time.time()
    journal = Journal(tmp_path / "journal")
    for cell in (1, 2):
        journal.write(event="begin", cell=cell)
    first, second = read_journal(tmp_path / "journal")
    assert [(e["event"], e["cell"]) for e in (first, second)] == [("begin", 1), ("begin", 2)]
    assert before <= first["at"] <= second["at"] <= time.time()


def test_without_a_file_there_are_no_events(tmp_path):
    assert read_journal(tmp_path / "journal") == []


def test_a_line_that_was_cut_short_is_left_out(tmp_path):
    path = tmp_path / "journal"
    Journal(path).write(event="end")
    with path.open("ab") as file:
        file.write(b'{"event": "beg')
    assert [event["event"] for event in read_journal(path)] == ["end"]


def test_it_outlives_a_process_that_ends_without_notice(tmp_path):
    code = (
        "import os, pathlib, sys; from labkit.batch.journal import Journal\n"
        "Journal(pathlib.Path(sys.argv[1])).write(event='begin')\nos._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, os.fspath(tmp_path / "j")], check=False)
    assert done.returncode == 9
    assert [event["event"] for event in read_journal(tmp_path / "j")] == ["begin"]
