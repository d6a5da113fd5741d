from nvv import processors
from nvv.processors import available_processors, default_num_workers


def test_number_of_workers_is_that_of_the_processors_at_most_eight(monkeypatch):
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda _: set(range(3)), raising=False)
    assert default_num_workers() == 3
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert default_num_workers() == 8


def test_processors_are_those_of_the_machine_where_the_system_does_not_say_which_may_be_used(monkeypatch):
    monkeypatch.delattr(processors.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(processors.os, "cpu_count", lambda: 5)
    assert available_processors() == 5
    monkeypatch.setattr(processors.os, "cpu_count", lambda: None)
    assert available_processors() == 1
