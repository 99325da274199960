"""Training on a Dask cluster: real schedulers and workers; some are killed, some are wrong."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import joblib
import nbformat
import pytest
import sweeps
from sweeps import (
    SHORT,
    draws,
    is_alive,
    net,
    notes,
    noting,
    recorded_runs,
    under_way,
    wait_for,
    when,
)

from utils import data
from utils.commands import notebooks as results
from utils.experiments import run as experiment
from utils.experiments.backends import dask as cluster
from utils.experiments.backends.dask import ClusterError
from utils.experiments.run import Arm, Experiment, RunError, last_epoch, run

if not os.environ.get("CI"):
    pytest.importorskip("distributed", reason=f"needs Dask: {cluster.INSTALL}")

import cloudpickle
from distributed import Client, LocalCluster

ROOT = Path(__file__).parent.parent

# The workers know nothing of these files, as they know nothing of a notebook.
for module in (sweeps, sys.modules[__name__]):
    cloudpickle.register_pickle_by_value(module)


@pytest.fixture(scope="module")
def without_images(tmp_path_factory):
    """Return the environment of a worker that has no file with images and cannot get one."""
    return {"MNIST_PATH": "", "KERAS_HOME": str(tmp_path_factory.mktemp("empty"))}


@pytest.fixture(scope="module")
def two_workers(full_mnist, without_images):
    """Start a cluster of two processes and return its client."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=":0",
            env=without_images,
        ) as local,
        Client(local) as client,
    ):
        yield client


@pytest.fixture
def records(monkeypatch, tmp_path):
    monkeypatch.setattr(experiment, "RESULTS", tmp_path / "results")
    return tmp_path


@contextlib.contextmanager
def started(*arguments, **environment):
    """Start one of Dask's own commands; it and its children are gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *map(str, arguments)],
        env={**os.environ, **environment},
        cwd=tempfile.gettempdir(),  # Python would look for `utils` here first.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def scheduler(folder):
    where = folder / "scheduler.json"
    options = ("--scheduler-file", where, "--host", "127.0.0.1", "--port", 0, "--no-dashboard")
    with started("scheduler", *options) as process:
        wait_for(lambda: where.exists() and where.read_text().strip().endswith("}"))
        yield json.loads(where.read_text())["address"], process


def a_worker(address, *options, **environment):
    return started("worker", address, "--no-dashboard", *options, **environment)


# The same runs


NOTEBOOK = (
    """
    import utils
    from pathlib import Path
    import keras, os
    from keras import layers
    from utils.experiments import run as experiment
    from utils.experiments.run import Arm, Experiment, Fit, run

    experiment.RESULTS = Path("on the cluster")
    UNITS = 10


    def dense(units):
        net = keras.Sequential([keras.Input((28, 28, 1)), layers.MaxPooling2D(4)])
        net.add(layers.Flatten())
        net.add(layers.Dropout(0.5))
        net.add(layers.Dense(units))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        net.compile("adam", loss, metrics=["accuracy"])
        return net


    def noisy(split, rng):
        noise = rng.random(split.x_train.shape, dtype="float32")
        return split.replace(x_train=(split.x_train + noise) / 2)


    def process(model, split):
        return os.getpid()


    two = Experiment(
        "two",
        "a-claim",
        {"plain": lambda: dense(UNITS), "noisy": Arm(lambda: dense(UNITS), noisy)},
        seeds=3,
        fit=Fit(epochs=2, batch_size=32, train_size=200),
        measures={"process": process},
    )
    there = run(two)
    """,
    """
    from utils.experiments.run import recorded

    assert recorded(two).complete
    assert len(set(there["process"].dropna()) - {os.getpid()}) == 2
    assert {r["machine"]["threads"] for r in two.record_file.read()[0]} == {1}
    """,
    """
    import pandas as pd

    del os.environ["MNIST_SCHEDULER"]
    experiment.RESULTS = Path("in this process")
    here = run(two)
    assert set(here["process"].dropna()) == {os.getpid()}
    differing = ["seconds", "process"]
    pd.testing.assert_frame_equal(
        here.drop(columns=differing), there.drop(columns=differing), check_exact=True
    )
    """,
)


def test_a_notebook_trains_on_the_workers_and_gets_the_same_bits(
    two_workers, monkeypatch, tmp_path
):
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in NOTEBOOK]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.setenv(variable, "1")  # As many as each of the workers has.
    results.execute(tmp_path / "a.ipynb", "full", scheduler=two_workers.scheduler.address)


def test_the_images_travel_once_and_with_no_run(two_workers, records, full_mnist, monkeypatch):
    sizes, pack = [], cluster._pack

    def noting_sizes(*arguments):
        sizes.append(len(pack(*arguments)))
        return pack(*arguments)

    monkeypatch.setattr(cluster, "_pack", noting_sizes)

    def received(dask_worker):
        (path,) = Path(dask_worker.local_directory).glob("*.npz")
        return str(path), path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()

    files = []
    for name in ("first", "second"):
        with joblib.parallel_config(backend="dask"):
            frame = run(Experiment(name, "c", {"a": net}, 4, SHORT), "full")
        assert len(frame) == 4
        files.append(two_workers.run(received))
    assert files[0] == files[1] and len(files[0]) == 2
    assert {file[3] for file in files[0].values()} == {full_mnist.read_bytes()}
    assert len({file[0] for file in files[0].values()} | {str(full_mnist)}) == 3
    assert len(sizes) == 8 and max(sizes) < 5_000 < full_mnist.stat().st_size / 100


# What goes wrong in an arm


def broken(split, rng):
    raise OSError("it is broken")


def test_a_failing_arm_is_named_and_the_finished_runs_are_kept(two_workers, records):
    finished = records / "results" / "x.jsonl"

    def fails_later(split, rng):
        while not finished.exists():
            time.sleep(0.1)
        return broken(split, rng)

    experiment_ = Experiment("x", "c", {"good": net, "bad": Arm(net, fails_later)}, [0], SHORT)
    with (
        pytest.raises(RunError, match="^arm 'bad', seed 0: OSError: it is broken") as caught,
        joblib.parallel_config(backend="dask"),
    ):
        run(experiment_, "full")
    assert [each["arm"] for each in recorded_runs(experiment_)] == ["good"]
    assert "in broken\n" in str(caught.value.__cause__)  # The traceback of the worker.


def test_what_cannot_travel_is_named_before_anything_trains(two_workers, records):
    lock, images = threading.Lock(), data.load_mnist("quick").images

    def locked(split, rng):
        return lock and split

    def laden(split, rng):
        return split.replace(x_train=images[: len(split.x_train)])

    for prepare, message in (
        (locked, "arm 'bad', seed 0 cannot be sent to a worker .*lock"),
        (laden, r"arm 'bad', seed 0 carries 15\.7 MB to its worker, and allowed is 1: "),
    ):
        arms = {"good": Arm(net, noting(records, 0)), "bad": Arm(net, prepare)}
        with pytest.raises(ClusterError, match=message), joblib.parallel_config(backend="dask"):
            run(Experiment("x", "c", arms, 1, SHORT), "quick")
    assert notes(records, "begin") == []


# What goes wrong in the cluster


def test_killed_workers_are_made_good(two_workers, records):
    arm = Arm(net, noting(records, 0.5))
    experiment_ = Experiment("x", "c", {"a": arm}, 10, SHORT)
    workers = set(two_workers.run(os.getpid).values())
    killed = []

    def kill():
        """Kill a worker in the middle of a run, then the trainer of another in one."""
        _, trainer, worker = wait_for(lambda: under_way(records))[0]
        os.kill(worker, signal.SIGKILL)
        killed.extend([worker, trainer])
        others = wait_for(lambda: [run_ for run_ in under_way(records) if run_[2] != worker])
        os.kill(others[0][1], signal.SIGKILL)
        killed.append(others[0][1])

    killer = threading.Thread(target=kill)
    killer.start()
    with joblib.parallel_config(backend="dask"):
        frame = run(experiment_, "full")
    killer.join()
    assert len(killed) == 3 and killed[0] in workers
    assert killed[0] not in two_workers.run(os.getpid).values()
    wait_for(lambda: not any(map(is_alive, killed)))  # A trainer ends with its worker.
    begun, ended = (Counter(each[0] for each in notes(records, kind)) for kind in ("begin", "end"))
    assert set(begun) == set(ended) == draws(10)
    assert sorted(begun.values()) == [*8 * [1], 2, 2] and set(ended.values()) == {1}
    assert sorted(each["seed"] for each in recorded_runs(experiment_)) == list(range(10))
    assert sorted(last_epoch(frame)["seed"]) == list(range(10))


def deadly(victim):
    os.kill(os.getppid() if victim == "worker" else os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        ("trainer", r"^it: on worker tcp://\S+ the process that trained it ended with status -9 "),
        ("worker", "^it: 4 workers died while they had this run, the last of them tcp://"),
    ],
)
def test_what_kills_whoever_runs_it_is_given_up(two_workers, full_mnist, victim, message):
    calls = [("it", (victim,))]
    with pytest.raises(ClusterError, match=message):
        list(cluster.train(two_workers, deadly, calls, data.load_mnist("full")))


def test_a_lost_scheduler_is_one_error_and_the_finished_runs_are_kept(
    full_mnist, without_images, records, capfd
):
    long = Experiment("long", "c", {"a": Arm(net, noting(records, 60))}, 3, SHORT)
    (records / "short").mkdir()
    short = Experiment("short", "c", {"a": Arm(net, noting(records / "short", 0.5))}, 6, SHORT)
    said = []

    def start_worker():
        try:
            wait_for(lambda: said.append(capfd.readouterr().err) or "has no workers" in said[-1])
        finally:
            stack.enter_context(a_worker(address, "--nthreads", 2, **without_images))

    with (
        scheduler(records) as (address, process),
        contextlib.ExitStack() as stack,
        Client(address, set_as_default=False) as client,
        joblib.parallel_config(backend="dask", client=client),
    ):
        starting = threading.Thread(target=start_worker)
        starting.start()
        interrupting = when(lambda: notes(records, "begin"), os.kill, os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            run(long, "full")
        starting.join()
        interrupting.join()
        assert f"The scheduler at {address} has no workers yet" in "".join(said)
        killing = when(lambda: len(recorded_runs(short)) == 2, process.kill)
        with pytest.raises(ClusterError, match=f"the scheduler at {address} was lost.* are kept"):
            run(short, "full")
        killing.join()
    # What was interrupted was not trained to its end, and what had not begun never did.
    assert len(notes(records, "begin")) == 1 and not notes(records, "end")
    # The worker has two threads. Both belong to one network at a time.
    begun, ended = (notes(records / "short", kind) for kind in ("begin", "end"))
    order = sorted((records / "short").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name.split()[0] for path in order] == (["begin", "end"] * 6)[: len(order)]
    assert begun[: len(ended)] == ended
    done = recorded_runs(short)
    assert 2 <= len(done) < 6 and {each["machine"]["threads"] for each in done} == {2}
    assert len(last_epoch(run(short, "full"))) == 6 and len(recorded_runs(short)) == 6


@pytest.fixture(scope="module")
def bare_scheduler(tmp_path_factory):
    with scheduler(tmp_path_factory.mktemp("scheduler")) as (address, _):
        yield address


def changed_course(folder):
    shutil.copytree(ROOT / "utils", folder / "utils")
    with open(folder / "utils" / "data.py", "a") as file:
        file.write("# changed\n")


def no_course(folder):
    (folder / "utils.py").touch()  # Stands in front of the course that is installed.


def other_images(folder):
    """Leave out what makes a small file pass for full MNIST."""
    (folder / "utils").symlink_to(ROOT / "utils")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            changed_course,
            r"cannot train: it differs .*: utils\.data \(\w+ there, \w+ here\)\. Both",
        ),
        (
            no_course,
            r"could not take it \(.*No module named 'utils.worker'.*is the course installed",
        ),
        (other_images, "cannot train: DataError: Full MNIST could not be loaded"),
    ],
)
def test_a_worker_that_would_train_something_else_records_nothing(
    make, message, bare_scheduler, without_images, records, full_mnist, monkeypatch
):
    make(records)
    monkeypatch.setenv("MNIST_SCHEDULER", bare_scheduler)
    experiment_ = Experiment("x", "c", {"a": Arm(net, noting(records, 0))}, 1, SHORT)
    with (
        a_worker(bare_scheduler, "--no-nanny", PYTHONPATH=str(records), **without_images),
        pytest.raises(ClusterError, match=f"^arm 'a', seed 0: .*{message}"),
    ):
        run(experiment_, "full")
    assert recorded_runs(experiment_) == notes(records, "begin") == []


def test_workers_that_are_threads_of_this_process_are_refused():
    with (
        LocalCluster(1, processes=False, dashboard_address=":0") as local,
        Client(local),
        joblib.parallel_config(backend="dask"),
        pytest.raises(ClusterError, match="threads of this process; allowed are"),
    ):
        run(Experiment("x", "c", {"a": net}, 1, SHORT), "quick")


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWER_SECONDS", 1)
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # It takes the call, and says nothing.
        closed.bind(("127.0.0.1", 0))
        for each in (silent, closed):
            address = f"tcp://127.0.0.1:{each.getsockname()[1]}"
            monkeypatch.setenv("MNIST_SCHEDULER", address)
            with pytest.raises(ClusterError, match=f"scheduler='{address}' does not answer .* 1 s"):
                run(Experiment("x", "c", {"a": net}, 1, SHORT), "quick")


@pytest.mark.parametrize("address", ["nowhere", "http://127.0.0.1:8786", "tcp://host:port"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ClusterError, match=f"scheduler='{address}' cannot be used .*; allowed is"):
        cluster.connect(address)


# Without Dask

WITHOUT = """
import sys
from utils.commands import notebooks as results
from utils.experiments import run as experiment
print(sorted({"dask", "distributed"} & set(sys.modules)))
sys.modules["distributed"] = None  # As if it were not installed.
results.main(["--scheduler", "tcp://127.0.0.1:8786"])
"""


def test_dask_is_imported_for_a_cluster_alone_and_its_absence_is_one_error():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2 and done.stdout == "[]\n"
    assert "scheduler='tcp://127.0.0.1:8786' needs Dask, which is not installed" in done.stderr
    assert cluster.INSTALL in done.stderr and "Traceback" not in done.stderr
