"""Train several runs at a time on this machine, each in a process for training alone.

They are processes of the kind that trains for the workers of a cluster (``worker``): they refuse to
train for another version of the course than their own, and end with the process that started them.
"""

import os
import pickle
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import joblib

from utils import data
from utils.checked import shown
from utils.experiments.backends import worker


class ProcessError(RuntimeError):
    """The processes of this machine cannot train; the message says why and what to do."""


def wanted_jobs() -> int:
    """Return how many full-scale runs to train at a time.

    Returns
    -------
    int
        What the environment variable ``MNIST_JOBS`` says; 1 where it is not set.

    Raises
    ------
    ValueError
        If it is not a whole number of at least 1.
    """
    said = os.environ.get("MNIST_JOBS", "1")
    try:
        return whole_from_1(said)
    except ValueError:
        raise ValueError(f"MNIST_JOBS={shown(said)}; allowed is a whole number from 1") from None


def whole_from_1(text: str) -> int:
    """Read a number of processes.

    Parameters
    ----------
    text : str
        Digits of a number from 1: at most nine, since no machine has more cores.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise ValueError(f"{shown(text)}: allowed is a whole number from 1")
    return int(text)


def train(
    jobs: int,
    function: Callable,
    calls: Iterable[tuple],
    mnist: data.MNIST,
    threads: int | None = None,
) -> Iterator:
    """Call a function in other processes, and yield its results in order of completion.

    At the first error, or when the generator is closed, the processes are ended.

    Parameters
    ----------
    jobs : int
        How many processes, from 1. They share the cores.
    function, calls, mnist
        As for `utils.experiments.backends.dask.train`, and so is what it yields and raises, except
        for the error below.
    threads : int, optional
        How many threads an operation has; by default all that its process has.

    Yields
    ------
    object
        What the function returned.

    Raises
    ------
    ProcessError
        If a call cannot be sent to a process, a process dies, or the course, its libraries or its
        images are no longer those of this process.
    """
    try:
        packed = {name: worker.pack(name, function, arguments) for name, arguments in calls}
    except worker.ClusterError as error:
        raise ProcessError(str(error)) from error
    wanted, closed = worker.versions(), threading.Event()
    # As many threads however few runs are left: with others, a run has other bits.
    share = max(1, joblib.cpu_count() // jobs)
    # A module that lies beside a notebook is imported there, too.
    here = (os.getcwd(),)
    trainers = [worker.Trainer(share, wanted, here, threads) for _ in range(min(jobs, len(packed)))]
    idle = queue.SimpleQueue()
    for trainer in trainers:
        idle.put(trainer)

    def call(name, job):
        trainer = idle.get()
        try:
            request = "this machine", mnist.path, job, wanted, mnist.scale, mnist.fingerprint
            return pickle.loads(trainer.call(request, closed.is_set)).get()
        except EOFError as end:
            raise ProcessError(
                f"{name}: {end}. If the status is -9, memory may have been short: train fewer at a "
                "time (make results JOBS=1, or MNIST_JOBS)"
            ) from None
        except worker.ClusterError as error:
            raise ProcessError(
                f"{name}: {error}. If the course was changed in the meantime, start again"
            ) from error
        finally:
            idle.put(trainer)

    with ThreadPoolExecutor(len(trainers)) as pool:
        try:
            for finished in as_completed([pool.submit(call, *each) for each in packed.items()]):
                yield finished.result()
        finally:
            closed.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for trainer in trainers:
                trainer.kill()
