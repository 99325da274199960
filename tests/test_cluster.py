"""Training on a Dask cluster: real schedulers and workers; some are killed, some are wrong."""

import contextlib
import copy
import functools
import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import joblib
import nbformat
import psutil
import pytest
import sweeps
from sweeps import SHORT, is_alive, net, notes, noting, recorded_runs, wait_for

from utils import data
from utils.commands import notebooks
from utils.experiments import Arm, Experiment, RunError
from utils.experiments.backends import dask as cluster
from utils.experiments.backends.worker import ClusterError
from utils.paths import CHAPTERS, ROOT

if not os.environ.get("CI"):
    pytest.importorskip("distributed", reason=f"needs Dask: {cluster.INSTALL}")

import cloudpickle
from distributed import Client, LocalCluster

pytestmark = pytest.mark.cluster

# The workers know nothing of these files, as they know nothing of a notebook.
for module in (sweeps, sys.modules[__name__]):
    cloudpickle.register_pickle_by_value(module)

LOOPBACK = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
DASK = Path(sys.executable).with_name("dask")


@pytest.fixture(scope="module")
def without_images(tmp_path_factory):
    """Return the environment of a worker that has no file with images and cannot get one."""
    return {"MNIST_PATH": "", "KERAS_HOME": str(tmp_path_factory.mktemp("empty"))}


@pytest.fixture(scope="module")
def two_workers(full_mnist, without_images):
    """Start a cluster of two processes and return its client."""
    with (
        LocalCluster(2, threads_per_worker=1, env=without_images, **LOOPBACK) as local,
        Client(local) as client,
    ):
        yield client


@contextlib.contextmanager
def started(command, folder, **environment):
    """Start a command in a folder; it and its children are gone afterwards."""
    folder.mkdir(exist_ok=True)
    settings = {"env": {**os.environ, **environment}, "cwd": folder, "start_new_session": True}
    settings |= dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(command, **settings)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def scheduler(folder):
    where = folder / "scheduler.json"
    options = ("--host=127.0.0.1", "--port=0", "--dashboard-address=127.0.0.1:0")
    command = [DASK, "scheduler", "--scheduler-file", where, *options]
    with started(command, folder / "empty") as process:
        wait_for(lambda: where.exists() and where.read_text(encoding="utf-8").strip()[-1:] == "}")
        yield json.loads(where.read_text(encoding="utf-8"))["address"], process


def a_worker(address, folder, *options, dask=(DASK,), **environment):
    options = ("--host=127.0.0.1", "--dashboard-address=127.0.0.1:0", *options)
    return started([*dask, "worker", address, *options], folder, **environment)


@pytest.fixture(scope="module")
def bare_scheduler(tmp_path_factory):
    with scheduler(tmp_path_factory.mktemp("scheduler")) as (address, _):
        yield address


def listening(process):
    """List the addresses on which a process and its children listen."""
    found, first = set(), psutil.Process(process.pid)
    for each in (first, *first.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # It has ended by now.
            ends = each.net_connections("inet")
            found |= {end.laddr for end in ends if end.status == psutil.CONN_LISTEN}
    return found


def test_the_workers_of_these_tests_open_no_door(two_workers):
    two_workers.wait_for_workers(2, timeout=100)
    ends = listening(psutil.Process())
    assert len(ends) >= 5 and {end.ip for end in ends} <= {"127.0.0.1", "::1"}


# The same runs


NOTEBOOK = (
    """
    import os
    from pathlib import Path

    from keras import layers
    from utils.evidence import RecordFile, records
    from utils.experiments import Arm, Experiment, models

    records.RESULTS = Path("on the cluster")
    UNITS = 10

    def dense(units):
        return models.classifier(
            layers.MaxPooling2D(4), layers.Flatten(), layers.Dropout(0.5), classes=units
        )

    def noisy(split, rng):
        noise = rng.random(split.x_train.shape, dtype="float32")
        return split.replace(x_train=(split.x_train + noise) / 2)

    def process(model, split):
        return os.getpid()

    arms = {"plain": lambda: dense(UNITS), "noisy": Arm(lambda: dense(UNITS), noisy)}
    how = {"epochs": 1, "batch_size": 32, "train_size": 100, "metrics": {"process": process}}
    two = Experiment("two", arms, seeds=2, **how)
    there = two.run().best
    """,
    """
    assert two.recorded().complete
    assert len(set(there["process"].dropna()) - {os.getpid()}) == 2
    assert {run["machine"]["threads"] for run in RecordFile.of("two").read()[0]} == {1}
    """,
    """
    import pandas as pd

    del os.environ["MNIST_SCHEDULER"]
    records.RESULTS = Path("in this process")
    here = two.run().best
    assert set(here["process"].dropna()) == {os.getpid()}
    same = [frame.drop(columns=["seconds", "process"]) for frame in (here, there)]
    pd.testing.assert_frame_equal(*same, check_exact=True)
    """,
)


def test_a_notebook_trains_on_the_workers_and_gets_the_same_bits(
    two_workers, monkeypatch, tmp_path
):
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in NOTEBOOK]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.setenv(variable, "1")  # As many as each of the workers has.
    notebooks.execute(tmp_path / "a.ipynb", "full", scheduler=two_workers.scheduler.address)


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
            assert len(Experiment(name, {"a": net}, seeds=2, **SHORT).run("full").best) == 2
        files.append(two_workers.run(received))
    assert files[0] == files[1] and len(files[0]) == 2
    assert {file[3] for file in files[0].values()} == {full_mnist.read_bytes()}
    assert len({file[0] for file in files[0].values()} | {str(full_mnist)}) == 3
    assert len(sizes) == 4 and max(sizes) < 5_000 < full_mnist.stat().st_size / 100
    # Only the processes that train have TensorFlow.
    assert set(two_workers.run(lambda: "tensorflow" in sys.modules).values()) == {False}


# What goes wrong in an arm


def broken(split, rng):
    raise OSError("it is broken")


def test_a_failing_arm_is_named_and_the_finished_runs_are_kept(two_workers, records):
    finished = records / "results" / "x.jsonl"

    def fails_later(split, rng):
        while not finished.exists():
            time.sleep(0.1)
        return broken(split, rng)

    arms = {"good": net, "bad": Arm(net, fails_later)}
    experiment = Experiment("x", arms, seeds=[0], **SHORT)
    with (
        pytest.raises(RunError, match="^arm 'bad', seed 0: OSError: it is broken") as caught,
        joblib.parallel_config(backend="dask"),
    ):
        experiment.run("full")
    assert [run["arm"] for run in recorded_runs(experiment)] == ["good"]
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
            Experiment("x", arms, seeds=1, **SHORT).run("quick")
    assert notes(records, "begin") == []


# What goes wrong in the cluster


def rest(folder, number):
    """Leave a note, take a moment, and leave another; TensorFlow is not needed for it."""
    run = f"{number} {os.getpid()} {os.getppid()}"
    (folder / f"begin {run}").touch()
    time.sleep(0.5)
    (folder / f"end {run}").touch()
    time.sleep(0.05)  # The clock of files is coarse, and the next note is to be later than this.
    return number, int(os.environ["TF_NUM_INTRAOP_THREADS"])


def under_way(folder):
    ended = notes(folder, "end")
    return [run for run in notes(folder, "begin") if run not in ended]


def test_killed_workers_are_made_good(two_workers, full_mnist, tmp_path):
    workers = set(two_workers.run(os.getpid).values())
    killed = []

    def kill():
        """Kill a worker in the middle of a run, then the trainer of another in one."""
        _, trainer, worker = wait_for(lambda: under_way(tmp_path))[0]
        os.kill(worker, signal.SIGKILL)
        killed.extend([worker, trainer])
        others = wait_for(lambda: [run for run in under_way(tmp_path) if run[2] != worker])
        os.kill(others[0][1], signal.SIGKILL)
        killed.append(others[0][1])

    killer = threading.Thread(target=kill)
    killer.start()
    calls = [(f"{number}", (tmp_path, number)) for number in range(10)]
    found = list(cluster.train(two_workers, rest, calls, data.load_mnist("full")))
    killer.join()
    assert len(killed) == 3 and killed[0] in workers
    assert killed[0] not in two_workers.run(os.getpid).values()
    wait_for(lambda: not any(map(is_alive, killed)))  # A trainer ends with its worker.
    begun, ended = (Counter(note[0] for note in notes(tmp_path, kind)) for kind in ("begin", "end"))
    assert set(begun) == set(ended) == set(range(10))
    assert sorted(begun.values()) == [*8 * [1], 2, 2] and set(ended.values()) == {1}
    assert sorted(found) == [(number, 1) for number in range(10)]


def deadly(victim):
    os.kill(os.getppid() if victim == "worker" else os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        ("trainer", r"^it: on worker tcp://\S+ the process that trained it ended with status -9\b"),
        ("worker", "^it: 4 workers died while they had this run, the last of them tcp://"),
    ],
)
def test_what_kills_whoever_runs_it_is_given_up(two_workers, full_mnist, victim, message):
    calls = [("it", (victim,))]
    with pytest.raises(ClusterError, match=message):
        list(cluster.train(two_workers, deadly, calls, data.load_mnist("full")))


def test_a_lost_scheduler_is_one_error_and_what_was_finished_is_there(
    full_mnist, without_images, records, capfd
):
    (records / "short").mkdir()
    long = Experiment("long", {"a": Arm(net, noting(records, 60))}, seeds=3, **SHORT)
    said, found = [], []

    def start_worker():
        try:
            wait_for(lambda: said.append(capfd.readouterr().err) or "has no workers" in said[-1])
        finally:
            worker = a_worker(address, records / "worker", "--nthreads=2", **without_images)
            stack.enter_context(worker)

    with (
        scheduler(records) as (address, process),
        contextlib.ExitStack() as stack,
        Client(address, set_as_default=False) as client,
    ):
        starting = threading.Thread(target=start_worker)
        starting.start()
        begun = functools.partial(notes, records, "begin")
        interrupting = sweeps.when(begun, os.kill, os.getpid(), signal.SIGINT)
        with (
            pytest.raises(KeyboardInterrupt),
            joblib.parallel_config(backend="dask", client=client),
        ):
            long.run("full")
        starting.join()
        interrupting.join()
        assert f"The scheduler at {address} has no workers yet" in "".join(said)
        killing = sweeps.when(lambda: len(found) == 2, process.kill)
        calls = [(f"{number}", (records / "short", number)) for number in range(6)]
        with pytest.raises(ClusterError, match=f"the scheduler at {address} was lost.* are kept"):
            for each in cluster.train(client, rest, calls, data.load_mnist("full")):
                found.append(each)
        killing.join()
    # What was interrupted was not trained to its end, and what had not begun never did.
    assert len(notes(records, "begin")) == 1 and not notes(records, "end")
    # The worker has two threads. Both belong to one network at a time.
    begun, ended = (notes(records / "short", kind) for kind in ("begin", "end"))
    order = sorted((records / "short").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name.split()[0] for path in order] == (["begin", "end"] * 6)[: len(order)]
    assert begun[: len(ended)] == ended
    assert 2 <= len(found) < 6 and {threads for _, threads in found} == {2}
    assert {number for number, _ in found} <= {number for number, _, _ in ended}


def changed_course(folder):
    shutil.copytree(ROOT / "utils", folder / "utils")
    with open(folder / "utils" / "data" / "mnist.py", "a", encoding="utf-8") as file:
        file.write("# changed\n")


def no_course(folder):
    (folder / "utils.py").touch()  # Stands in front of the course that is installed.


def other_images(folder):
    """Leave out what makes a small file pass for full MNIST."""
    (folder / "utils").symlink_to(ROOT / "utils")


WRONG = {
    changed_course: r"cannot train: it differs .*: utils\.data\.mnist \(\w+ there, \w+ here\)\. B",
    no_course: r"could not take it \(.*No module named 'utils\.\w+'.*is the course installed",
    other_images: "cannot train: DataError: Full MNIST could not be loaded",
}


@pytest.mark.parametrize(("make", "message"), WRONG.items())
def test_a_worker_that_would_train_something_else_records_nothing(
    make, message, bare_scheduler, without_images, records, full_mnist, monkeypatch
):
    make(records)
    monkeypatch.setenv("MNIST_SCHEDULER", bare_scheduler)
    experiment = Experiment("x", {"a": Arm(net, noting(records, 0))}, seeds=1, **SHORT)
    environment = {"PYTHONPATH": str(records), **without_images}
    with (
        a_worker(bare_scheduler, records / "empty", "--no-nanny", **environment),
        pytest.raises(ClusterError, match=f"^arm 'a', seed 0: .*{message}"),
    ):
        experiment.run("full")
    assert recorded_runs(experiment) == notes(records, "begin") == []


def where(module):
    return importlib.import_module(module).__file__


@pytest.mark.parametrize(
    ("dask", "module"), [([DASK], "re"), ([sys.executable, "-m", "dask"], "colorsys")]
)
def test_what_lies_in_the_folder_of_a_worker_is_not_run(dask, module, bare_scheduler, tmp_path):
    (tmp_path / f"{module}.py").write_text("import os; os._exit(7)", encoding="utf-8")
    with (
        a_worker(bare_scheduler, tmp_path, "--no-nanny", dask=dask),
        cluster.connect(bare_scheduler) as client,
    ):
        client.wait_for_workers(1, timeout=100)
        (found,) = cluster.train(client, where, [("it", (module,))], data.load_mnist("quick"))
    assert Path(found) == Path(where(module))


def test_workers_that_are_threads_of_this_process_are_refused():
    with (
        LocalCluster(1, processes=False, dashboard_address="127.0.0.1:0") as local,
        Client(local),
        joblib.parallel_config(backend="dask"),
        pytest.raises(ClusterError, match="threads of this process; allowed are"),
    ):
        Experiment("x", {"a": net}, seeds=1, **SHORT).run("quick")


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWER_SECONDS", 1)
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # It takes the call, and says nothing.
        closed.bind(("127.0.0.1", 0))
        for end in (silent, closed):
            address = f"tcp://127.0.0.1:{end.getsockname()[1]}"
            monkeypatch.setenv("MNIST_SCHEDULER", address)
            with pytest.raises(ClusterError, match=f"scheduler='{address}' does not answer .* 1 s"):
                Experiment("x", {"a": net}, seeds=1, **SHORT).run("quick")


@pytest.mark.parametrize("address", ["nowhere", "http://127.0.0.1:8786", "tcp://host:port"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ClusterError, match=f"scheduler='{address}' cannot be used .*; allowed is"):
        cluster.connect(address)


# The recipes of the page


def free_port():
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return str(end.getsockname()[1])


def recipe(section):
    """Return the page's commands, by the first word of each block, for ports that are free."""
    page = (CHAPTERS / "cluster.md").read_text(encoding="utf-8")
    text = re.search(rf"\({section}\)=\n(.*?)\n(?:\(\S+\)=\n)?## ", page, re.S)[1]
    for port in ("8786", "8787"):
        text = text.replace(port, free_port())
    text = re.sub(r"\w+\.example\.org", "127.0.0.1", text).replace(".venv/bin/dask", str(DASK))
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    return {re.search(r"openssl|scheduler |worker |make results", each)[0]: each for each in blocks}


@contextlib.contextmanager
def cluster_of(commands, folder, **environment):
    """Start a scheduler and workers by the page's commands; give its address and what listens."""
    start = functools.partial(started, folder=folder, **environment)
    address = re.search(r"SCHEDULER=(\S+)", commands["make results"])[1]
    port = int(address.rpartition(":")[2])
    with start(["bash", "-c", commands["scheduler "]]) as first:
        wait_for(lambda: port in {end.port for end in listening(first)})
        with start(["bash", "-c", commands["worker "]]) as second:
            yield address, lambda: listening(first) | listening(second)


def test_the_local_recipe_opens_no_door(tmp_path, without_images):
    with (
        cluster_of(recipe("cluster-local"), tmp_path / "empty", **without_images) as found,
        cluster.connect(found[0]) as client,
    ):
        client.wait_for_workers(2, timeout=100)
        assert list(client.nthreads().values()) == [1, 1]
        ends = found[1]()
        assert len(ends) >= 6 and {end.ip for end in ends} == {"127.0.0.1"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Make the page's certificates below a home of their own; return the recipe and the home."""
    home, commands = tmp_path_factory.mktemp("home"), recipe("cluster-tls")
    done = subprocess.run(
        ["bash", "-ec", commands["openssl"]],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return commands, home


@pytest.fixture
def dask_settings():
    """Give Dask's settings, which are as they were afterwards."""
    from dask import config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "config", copy.deepcopy(config.config))
        yield config


def test_with_tls_only_who_has_a_certificate_gets_in(
    certificates, full_mnist, without_images, records, monkeypatch, dask_settings
):
    commands, home = certificates
    folder = home / "course-tls"
    leaves = [folder / f"{role}.pem" for role in ("scheduler", "worker", "client")]
    authority = ["openssl", "verify", "-x509_strict", "-CAfile", folder / "ca.pem"]
    assert subprocess.run([*authority, *leaves], stdout=subprocess.DEVNULL).returncode == 0
    assert all(not path.stat().st_mode & 0o077 for path in (folder, *folder.glob("*.key")))
    settings = dict(re.findall(r"export (\w+)=~/(\S+)", commands["make results"]))
    assert len(settings) == 3
    environment = {"HOME": str(home), **without_images}
    with cluster_of(commands, records / "empty", **environment) as (address, ends):
        start = time.monotonic()
        for wrong, message in (
            (address.replace("tls", "tcp"), "closes the connection .* begins with tls://; allowed"),
            (address, "cannot be used .* allowed is an address .*CA_FILE"),
        ):
            with pytest.raises(ClusterError, match=f"^scheduler='{wrong}' {message}"):
                cluster.connect(wrong)
        assert time.monotonic() - start < 10
        for name, file in settings.items():
            monkeypatch.setenv(name, str(home / file))
        dask_settings.refresh()  # As a process does at its start.
        monkeypatch.setenv("MNIST_SCHEDULER", address)
        with cluster.client() as client:
            (found,) = cluster.train(client, abs, [("it", (-1,))], data.load_mnist("full"))
            assert found == 1
            assert all(each.startswith("tls://") for each in client.nthreads())
        assert {end.ip for end in ends()} == {"127.0.0.1"}


def test_the_absence_of_dask_is_one_error(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SystemExit) as ended:
        notebooks.main(["--scheduler", "tcp://127.0.0.1:8786"])
    message = "scheduler='tcp://127.0.0.1:8786' needs Dask, which is not installed"
    assert ended.value.code == 2 and message in capsys.readouterr().err
