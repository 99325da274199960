"""Train on the workers of a Dask cluster: the same runs, in processes on other machines.

There is a cluster if the caller opened one (``joblib.parallel_config(backend="dask")``), or if the
environment variable ``MNIST_SCHEDULER`` holds the address of a Dask scheduler. Only then is Dask
imported: nothing else in the course needs it.

The images of full MNIST go to each worker once, as the file that this process read them from. A run
travels as a few kilobytes: the functions of its arm, by value if a notebook defines them, and its
seed. What a worker does with it is in ``worker``.
"""

import asyncio
import contextlib
import os
import pickle
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from joblib.parallel import get_active_backend

from utils import data
from utils.experiments.backends import worker
from utils.experiments.backends.worker import ClusterError

INSTALL = "pip install -r requirements-cluster.txt -c constraints.txt"

# What the addresses of a scheduler look like, and what those with TLS need.
_ALLOWED = (
    "an address such as 'tcp://host:8786', or 'tls://host:8786' together with the files that "
    "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and "
    "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY name (chapters/cluster.md)"
)

# Long enough for a scheduler behind a tunnel, short enough to wait for a mistyped address.
_ANSWER_SECONDS = 10

# A larger job carries data, and would carry them with every run of its arm.
_JOB_BYTES = 1_000_000

# What a worker evaluates. Given the function itself, a worker that has no such function would fail
# while it reads the message, and end without telling anybody why.
_WORK = f"__import__('importlib').import_module({worker.__name__!r}).work(*arguments)"

# How often a run is given to a worker again whose training process died.
_RETRIES = 2


def connect(address: str):
    """Connect to a Dask scheduler.

    Parameters
    ----------
    address : str
        Such as ``"tcp://host:8786"``, or ``"tls://host:8786"`` where Dask's settings name the
        certificates.

    Returns
    -------
    distributed.Client
        Close it, or use it in a ``with``.

    Raises
    ------
    ClusterError
        If Dask is not installed, the address is invalid, its certificates are missing or not
        accepted, or nothing there answers like a Dask scheduler within ten seconds.
    """
    try:
        from distributed import Client
        from distributed.comm import CommClosedError
    except ImportError as error:
        raise ClusterError(
            f"scheduler={address!r} needs Dask, which is not installed ({error}): {INSTALL}"
        ) from None
    try:
        # A client of its own would wait for ever for a host that takes the call and says nothing.
        # The thread is for notebooks, whose own thread runs an event loop already.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, _call(address)).result()
        return Client(address, timeout=_ANSWER_SECONDS, set_as_default=False)
    except (ValueError, TypeError, RuntimeError, FileNotFoundError) as error:
        raise ClusterError(
            f"scheduler={address!r} cannot be used ({error}); allowed is {_ALLOWED}"
        ) from None
    except (OSError, asyncio.TimeoutError) as error:
        reason = error or type(error).__name__
        if address.startswith("tcp://") and isinstance(error, CommClosedError):
            raise ClusterError(
                f"scheduler={address!r} closes the connection ({reason}), as a scheduler with TLS "
                f"does, whose address begins with tls://; allowed is {_ALLOWED}"
            ) from None
        raise ClusterError(
            f"scheduler={address!r} does not answer as a Dask scheduler within "
            f"{_ANSWER_SECONDS} s ({reason}); is it running, can this machine reach it, and is "
            "this the address that it printed at its start?"
        ) from None


async def _call(address: str) -> None:
    from distributed.comm import connect
    from distributed.security import Security

    settings = Security().get_connection_args("client")
    calling = connect(address, timeout=_ANSWER_SECONDS, **settings)
    (await asyncio.wait_for(calling, _ANSWER_SECONDS)).abort()


@contextlib.contextmanager
def client():
    """Look for the cluster on which the runs are to be trained.

    Yields
    ------
    distributed.Client or None
        The client of joblib's backend if that is ``"dask"``; else one that is connected to the
        scheduler of ``MNIST_SCHEDULER``, and closed at the end; None without either.

    Raises
    ------
    ClusterError
        As for `connect`.
    """
    backend, _ = get_active_backend()
    address = os.environ.get("MNIST_SCHEDULER")
    if type(backend).__module__ == "joblib._dask":
        yield backend.client
    elif address:
        with connect(address) as opened:
            yield opened
    else:
        yield None


def train(client, function: Callable, calls: Iterable[tuple], mnist: data.MNIST) -> Iterator:
    """Call a function on the workers, and yield its results in order of completion.

    A call whose worker dies is repeated on another one. At the end, or when the generator is
    closed, calls that have not begun are withdrawn.

    Parameters
    ----------
    client : distributed.Client
        As `client` yields it.
    function : callable
        Of a module that the workers have. It may raise errors that can be pickled.
    calls : iterable of (str, tuple)
        For each call, its name in messages and its arguments.
    mnist : utils.data.MNIST
        The images that the calls ask ``load_mnist`` for.

    Yields
    ------
    object
        What the function returned.

    Raises
    ------
    ClusterError
        If a call cannot be sent or carries data, the workers are threads of this process, a worker
        has another course, other libraries or other images, a call's workers keep dying, or the
        scheduler is lost.
    Exception
        What the function raises.
    """
    # Joblib's own bridge to Dask (1.6) waits for ever for a call whose workers keep dying, and
    # makes the calls in this process where the cluster has one thread.
    from distributed import as_completed

    if client.scheduler.address.startswith("inproc://"):
        raise ClusterError(
            "the workers are threads of this process; allowed are workers that are processes of "
            "their own, as those of LocalCluster(processes=True) are"
        )
    jobs = {name: _pack(name, function, arguments) for name, arguments in calls}
    wanted, futures = worker.versions(), {}
    try:
        with _lost(client):
            if mnist.path is not None:
                _bring(client, mnist)
            if not client.nthreads():
                print(
                    f"The scheduler at {client.scheduler.address} has no workers yet; the runs "
                    "wait for the first.",
                    file=sys.stderr,
                )
            for name, job in jobs.items():
                arguments = job, wanted, mnist.scale, mnist.fingerprint
                future = client.submit(
                    eval,
                    _WORK,
                    {"arguments": arguments},
                    key=f"train-{uuid.uuid4().hex}",
                    retries=_RETRIES,
                )
                futures[future] = name
        for future in as_completed(list(futures), loop=client.loop):
            with _lost(client):
                answer = _answer(future, futures.pop(future))
            yield answer.get()
    finally:
        # What nobody waits for any more, the scheduler does not start.
        for future in futures:
            future.release()


def _pack(name: str, function: Callable, arguments: tuple) -> bytes:
    job = worker.pack(name, function, arguments)
    if len(job) > _JOB_BYTES:
        raise ClusterError(
            f"{name} carries {len(job) / 1e6:,.1f} MB to its worker, and allowed is "
            f"{_JOB_BYTES / 1e6:g}: a function of its arm, or a metric, reads data from the "
            "notebook; let it take them from its own arguments, or load them itself"
        )
    return job


def _bring(client, mnist: data.MNIST) -> None:
    """Bring the file with the images to each worker, now or when it joins, once."""
    from distributed.comm import CommClosedError
    from distributed.diagnostics.plugin import UploadFile

    upload = UploadFile(str(mnist.path), load=False)
    upload.filename = worker.images_file(mnist.fingerprint)
    upload.name = f"convolution-tested {upload.filename}"
    upload.idempotent = True
    try:
        client.register_plugin(upload)
    except CommClosedError:
        raise
    except OSError as error:
        raise ClusterError(f"a worker could not store the images: {error}") from error


def _answer(future, name: str) -> worker.Answer:
    from distributed import CancelledError, KilledWorker

    try:
        answer = pickle.loads(future.result())
        if isinstance(answer.error, ClusterError):
            raise answer.error
        return answer
    except ClusterError as error:
        raise ClusterError(f"{name}: {error}") from error
    except KilledWorker as error:
        _, last, failures = error.args
        raise ClusterError(
            f"{name}: {failures + 1} workers died while they had this run, the last of them "
            f"{last.address}; their logs may say why"
        ) from error
    except (OSError, CancelledError):
        raise
    except Exception as error:
        raise ClusterError(
            f"{name}: a worker could not take it ({type(error).__name__}: {error}); is the course "
            "installed there, in the same version?"
        ) from error


@contextlib.contextmanager
def _lost(client):
    """Say in one message that the scheduler is gone, however Dask notices."""
    from distributed import CancelledError

    address = client.scheduler.address
    try:
        yield
    except (OSError, CancelledError) as error:
        reason = str(error).split("\n")[0]
        raise ClusterError(
            f"the scheduler at {address} was lost, or took its runs back ({reason}). Recorded runs "
            "are kept; once it is up again, the same command goes on with the rest"
        ) from error
