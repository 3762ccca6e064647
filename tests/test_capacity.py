import pytest

from benchmarks.scale.capacity import Job, fewest_workers, simulate


def test_time_and_price_are_those_of_the_arithmetic_where_workers_are_the_limit():
    job = Job(messages=10_000_000, files=100, rate=1000, start=0, price=0.5)
    for workers in (1, 2, 10):
        played = simulate(job, workers)
        assert played.seconds == pytest.approx(10_000 / workers, rel=0.01)
        assert played.price == pytest.approx(10_000 / 3600 * 0.5, rel=0.01)
        assert played.bottleneck == "workers"


def test_a_reader_and_the_network_become_the_limit():
    one_file = Job(messages=10_000_000, files=1, rate=1000, reading=20_000)
    assert simulate(one_file, 10).bottleneck == "workers"
    assert simulate(one_file, 100).bottleneck == "readers"
    assert simulate(one_file, 100).seconds > 10_000_000 / 20_000
    slow = Job(messages=10_000_000, files=100, rate=1000, size=1000, network=1e7)
    assert simulate(slow, 100).bottleneck == "network"
    assert simulate(slow, 100).seconds == pytest.approx(1000, rel=0.1)


def test_what_a_dead_worker_had_begun_is_done_again():
    job = Job(messages=10_000_000, files=100, rate=1000, start=0)
    dying = simulate(Job(**{**vars(job), "failure": 0.1}), 10)
    assert dying.lost > 0
    assert dying.seconds > simulate(job, 10).seconds


def test_as_few_workers_as_do_it_in_time():
    job = Job(messages=36_000_000, files=100, rate=1000, start=0)
    found = fewest_workers(job, hours=1.01)
    assert found.seconds <= 3636 < simulate(job, found.workers - 1).seconds
    assert found.workers == 10
    with pytest.raises(ValueError, match="network alone take"):
        fewest_workers(Job(**{**vars(job), "network": 1e5}), hours=1)
