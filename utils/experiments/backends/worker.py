"""Processes that do nothing but train, and how a Dask worker hands its runs to one of them.

The worker's own process will not do: in the middle of a run Dask's threads draw from Python's
random numbers, with which Keras seeds its layers, so that the run no longer depends on its seed
alone. Each worker therefore keeps a trainer: a process that is given one run after the other, has
as many threads as the worker, and ends with it. Runs trained side by side on one machine go to
trainers as well (``local``).
"""

import contextlib
import hashlib
import importlib.metadata
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle

import utils

# Read by TensorFlow, and by the libraries that may stand behind NumPy.
_THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)


# What a trainer runs. Python puts the current folder in front of everything else: a file called
# ``re.py`` there would be run in place of Python's own. The folders in the arguments come last.
_SERVE = (
    "import sys; sys.path[:] = [*filter(None, sys.path), *sys.argv[1:]]; "
    f"from {__name__} import serve; serve()"
)


class ClusterError(RuntimeError):
    """The cluster cannot train; the message says what is wrong with it and what to do."""


class _ElsewhereError(Exception):
    """The traceback of an error in another process, as text."""

    def __str__(self):
        return f"\n{self.args[0]}"


class Answer(NamedTuple):
    """The answer to a request: a result, or an error, with its traceback if the function raised it.

    The traceback is a text, since traceback objects cannot be pickled.
    """

    result: Any = None
    error: Exception | None = None
    traceback: str = ""

    def get(self) -> Any:
        """Return the result, or raise the error with the traceback that it had."""
        if self.error:
            raise self.error from (_ElsewhereError(self.traceback) if self.traceback else None)
        return self.result


def pack(name: str, function: Callable, arguments: tuple) -> bytes:
    """Turn a function and its arguments into a request's job.

    Functions that a notebook defines go by value, with what they read from the notebook.

    Parameters
    ----------
    name : str
        Name of the call, for messages.
    function : callable
        A function of a module.
    arguments : tuple
        What it is called with.

    Returns
    -------
    bytes

    Raises
    ------
    ClusterError
        If they cannot be pickled.
    """
    try:
        return cloudpickle.dumps((function, arguments))
    except Exception as error:
        raise ClusterError(
            f"{name} cannot be sent to a worker ({type(error).__name__}: {error}); what its "
            "functions read from the notebook must be values, functions or modules"
        ) from error


def _course() -> dict[str, str]:
    """Take a hash of each module of the course."""
    package, hashes = Path(utils.__file__).parent, {}
    for path in sorted(package.rglob("*.py")):
        parts = ("utils", *path.relative_to(package).with_suffix("").parts)
        module = ".".join(parts).removesuffix(".__init__")
        content = path.read_bytes().replace(b"\r\n", b"\n")
        hashes[module] = hashlib.sha256(content).hexdigest()[:12]
    return hashes


# Of the files as they are now, while they are imported: a process that goes on running after they
# changed still holds the old code.
_COURSE = _course()


def versions() -> dict[str, str]:
    """Return what has to be the same on a worker as where a run comes from.

    Returns
    -------
    dict of str to str
        A hash of each module of ``utils`` as it was when it was imported, the version of Python to
        its minor number, and those of the libraries that determine a run's numbers.
    """
    found = {**_COURSE, "Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in ("keras", "numpy", "tensorflow"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def images_file(fingerprint: str) -> str:
    """Name the file with the images in a worker's folder.

    Parameters
    ----------
    fingerprint : str
        That of the images.

    Returns
    -------
    str
    """
    return f"{fingerprint}.npz"


# In the worker's process: Dask calls `work`.

_one_at_a_time = threading.Lock()
_trainer: "Trainer | None" = None


def work(job: bytes, wanted: dict, scale: str, images: str) -> bytes:
    """Make one run on a worker; Dask calls this in one of the worker's threads.

    Parameters
    ----------
    job : bytes
        A function and its arguments, pickled.
    wanted : dict of str to str
        What `versions` returns where the run comes from.
    scale : {"quick", "full"}
        The scale whose images the function loads.
    images : str
        Their fingerprint.

    Returns
    -------
    bytes
        An `Answer`, pickled. The worker's own process does not look into it: that would import
        TensorFlow.

    Raises
    ------
    ClusterError
        If the trainer dies or cannot be started, or the run is withdrawn before its turn.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def withdrawn() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    path = os.path.join(worker.local_directory, images_file(images))
    who = f"worker {worker.address}"
    request = who, path if os.path.exists(path) else None, job, wanted, scale, images
    with _turn(withdrawn):
        try:
            trainer = _trainer_for(worker.state.nthreads, wanted)
            return trainer.call(request, withdrawn)
        except EOFError as end:
            raise ClusterError(
                f"on worker {worker.address} {end} (-9 is often a lack of memory); the worker's "
                "log may say more"
            ) from None
        except OSError as error:
            raise ClusterError(f"worker {worker.address} cannot train: {error}") from error


@contextlib.contextmanager
def _turn(withdrawn: Callable[[], bool]) -> Iterator[None]:
    """Wait until the worker trains no other network; what is withdrawn meanwhile is not trained."""
    while not _one_at_a_time.acquire(timeout=1):
        if withdrawn():
            raise ClusterError("it was withdrawn")
    try:
        yield
    finally:
        _one_at_a_time.release()


def _trainer_for(threads: int, wanted: dict) -> "Trainer":
    """Keep the trainer, unless it died or the course may have changed since it was started."""
    global _trainer
    if _trainer is None or _trainer.status() is not None or _trainer.wanted != wanted:
        if _trainer is not None:
            _trainer.kill()
        _trainer = Trainer(threads, wanted)
    return _trainer


class Trainer:
    """A process that answers requests, one after the other, and ends with the one that started it.

    Parameters
    ----------
    threads : int
        How many threads it trains with.
    wanted : dict of str to str
        What `versions` returns where its requests come from.
    folders : tuple of str
        Where it looks for modules that are neither the course's nor the environment's.
    within : int, optional
        How many of its threads a single operation has; by default all.
    """

    def __init__(
        self,
        threads: int,
        wanted: dict,
        folders: tuple[str, ...] = (),
        within: int | None = None,
    ):
        self.wanted = wanted
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                **dict.fromkeys(_THREADS, str(threads)),
                "TF_NUM_INTRAOP_THREADS": str(within or threads),
                "PYTHONPATH": os.pathsep.join(_places()),
            },
        )
        self._answers = queue.SimpleQueue()
        self._said = b""  # The end of what it wrote to its standard error.
        # Daemons, so that a worker which is told to stop need not wait for the run's end.
        self._log = threading.Thread(target=self._pass_on, daemon=True)
        self._log.start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _pass_on(self) -> None:
        while part := self._process.stderr.read1():
            self._said = (self._said + part)[-2_000:]
            with contextlib.suppress(OSError):  # This process has no standard error.
                os.write(2, part)

    def _listen(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                self._answers.put(pickle.load(self._process.stdout))
        self._answers.put(None)

    def call(self, request: tuple, withdrawn: Callable[[], bool]) -> bytes:
        """Send a request and wait for its answer.

        Parameters
        ----------
        request : tuple
            Who answers (for messages), the path of the file with the images or None for its own,
            and then the parameters of `work`.
        withdrawn : callable
            Called once a second; if it returns True, the process is killed.

        Returns
        -------
        bytes
            An `Answer`, pickled.

        Raises
        ------
        EOFError
            If the process ends without an answer. The message gives its exit status and the last
            line that it wrote to its standard error.
        """
        with contextlib.suppress(OSError):  # It died; no answer says so as well.
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
        while True:
            try:
                answer = self._answers.get(timeout=1)
            except queue.Empty:
                if withdrawn():
                    self.kill()
            else:
                if answer is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(5)  # What it died of is known once it is gone.
                    self.kill()
                    raise EOFError(self._end())
                return answer

    def _end(self) -> str:
        self._log.join(5)
        lines = self._said.decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        said = f", its last line was {last!r}" if last else ""
        return f"the process that trained it ended with status {self.status()}{said}"

    def status(self) -> int | None:
        """Return the exit status of the process, None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()


def _places() -> list[str]:
    """List where a trainer finds modules: where this process does, but for the current folder.

    Others may be able to write to that one; it stays when the course is in it.
    """
    here, course = os.path.realpath(os.curdir), os.path.realpath(Path(utils.__file__).parents[1])
    places = map(os.path.abspath, sys.path)
    return [place for place in places if os.path.realpath(place) != here or here == course]


# In the trainer's process


def serve() -> None:
    """Answer the requests that come through standard input until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is meant for the client.
    # What a run prints goes into the worker's log, and not between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    while True:
        pickle.dump(pickle.dumps(_answer(*requests.get())), answers)
        answers.flush()


def _read(requests: queue.SimpleQueue) -> None:
    try:
        while True:
            requests.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(0)  # The worker is gone: nobody waits for the run.


def _answer(who, path, job, wanted, scale, images) -> Answer:
    from utils import data

    if path is not None:
        os.environ["MNIST_PATH"] = str(path)
    try:
        _compare(wanted)
        loaded = data.load_mnist(scale).fingerprint
        if loaded != images:
            raise ClusterError(f"its images are {loaded} instead of {images}")
        function, arguments = cloudpickle.loads(job)
        _compare(wanted)  # Again, with the modules that the job has brought into use,
        try:
            answer = Answer(function(*arguments))
        except Exception as error:
            answer = Answer(error=error, traceback=traceback.format_exc())
        _compare(wanted)  # and again, with those that it has imported only when it ran.
    except Exception as error:
        kind = "" if isinstance(error, ClusterError) else f"{type(error).__name__}: "
        return Answer(error=ClusterError(f"{who} cannot train: {kind}{error}"))
    return answer


def _compare(wanted: dict) -> None:
    """Refuse a run of another course: no record may come from code that its sender does not have.

    Modules that nothing here uses do not matter.
    """
    found = {
        name: version
        for name, version in versions().items()
        if name in sys.modules or name not in _COURSE
    }
    other = [
        f"{name} ({version} there, {wanted.get(name, 'missing')} here)"
        for name, version in found.items()
        if wanted.get(name) != version
    ]
    if other:
        raise ClusterError(
            f"it differs from what sends the runs: {', '.join(other)}. Both have to be the same"
        )
