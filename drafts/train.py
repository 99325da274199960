"""train.py ROOT NOTEBOOK EXPERIMENT... : take the experiment from the notebook and record it."""
import os, sys
from pathlib import Path
ROOT, NB, NAMES = sys.argv[1], sys.argv[2], sys.argv[3:]
os.environ["MNIST_PATH"]="/work/shared/data/mnist.npz"
sys.path.insert(0, ROOT); sys.path.insert(0, ROOT+"/tests")
os.chdir(ROOT)
from helpers import take
import utils; assert utils.__file__.startswith(ROOT), utils.__file__
from utils.experiments.run import Experiment
for name in NAMES:
    e = take(Path(ROOT)/"chapters"/NB, name)
    print(name, flush=True)
    e.run("full")
