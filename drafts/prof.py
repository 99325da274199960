import os,sys,glob,time
os.environ["TF_ENABLE_ONEDNN_OPTS"]=sys.argv[1]; os.environ["TF_CPP_MIN_LOG_LEVEL"]="3"
import numpy as np, keras, tensorflow as tf
from keras import layers
tf.config.threading.set_intra_op_parallelism_threads(1); tf.config.threading.set_inter_op_parallelism_threads(1)
n=keras.Sequential([keras.Input((28,28,1)),layers.Rescaling(255)])
for m in (32,48,64):
    n.add(layers.Conv2D(m,3,1,"same",activation="relu")); n.add(layers.MaxPooling2D(2))
n.add(layers.Flatten()); n.add(layers.Dense(512,activation="relu")); n.add(layers.Dense(10)); n.add(layers.Reshape((1,10)))
n.compile("adam",keras.losses.CategoricalCrossentropy(from_logits=True),jit_compile=False)
x=tf.constant(np.random.rand(32,28,28,1).astype("f")); y=tf.constant(np.eye(10,dtype="f")[np.random.randint(0,10,32)][:,None,:])
@tf.function(jit_compile=False)
def step():
    with tf.GradientTape() as t:
        l=n.compute_loss(x,y,n(x,training=True))
    g=t.gradient(l,n.trainable_variables); n.optimizer.apply_gradients(zip(g,n.trainable_variables)); return l
for _ in range(5): step()
t=time.process_time()
for _ in range(60): step()
print("ms cpu",(time.process_time()-t)/60*1e3)
tf.profiler.experimental.start("/tmp/w/prof")
for _ in range(30): step()
tf.profiler.experimental.stop()
from tensorflow.tsl.profiler.protobuf import xplane_pb2
f=max(glob.glob("/tmp/w/prof/**/*.xplane.pb",recursive=True),key=os.path.getmtime)
s=xplane_pb2.XSpace(); s.ParseFromString(open(f,"rb").read())
from collections import Counter
c=Counter()
for p in s.planes:
    if "CPU" not in p.name: continue
    for l in p.lines:
        for e in l.events:
            c[p.event_metadata[e.metadata_id].name.split(":")[-1]]+=e.duration_ps/1e9/30
for k,v in c.most_common(22): print(f"{v:7.3f} ms {k}")
