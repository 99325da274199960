import os, sys, time, json
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL","3"); os.environ["TF_ENABLE_ONEDNN_OPTS"]="1"
import numpy as np, tensorflow as tf, keras
from keras import layers
d=np.load(os.environ["MNIST_PATH"]); X,Y,XT,YT=d["x_train"],d["y_train"],d["x_test"],d["y_test"]

def s2d(x):  # uint8 (n,28,28) -> (n,12,12,4)
    x=x[:,2:-2,2:-2]; n=len(x)
    return x.reshape(n,12,2,12,2).transpose(0,1,3,2,4).reshape(n,12,12,4)

def build(c1=32,c2=64,k1=3,k2=3,bn=True,pool2=False,dense=0):
    net=keras.Sequential([keras.Input((12,12,4))])
    net.add(layers.Conv2D(c1,k1,use_bias=not bn)); net.add(layers.MaxPooling2D(2))
    if bn: net.add(layers.BatchNormalization(momentum=0.9))
    net.add(layers.ReLU())
    net.add(layers.Conv2D(c2,k2,use_bias=not bn))
    if pool2: net.add(layers.MaxPooling2D(2))
    if bn: net.add(layers.BatchNormalization(momentum=0.9))
    net.add(layers.ReLU()); net.add(layers.Flatten())
    if dense:
        net.add(layers.Dense(dense,use_bias=not bn))
        if bn: net.add(layers.BatchNormalization(momentum=0.9))
        net.add(layers.ReLU())
    net.add(layers.Dense(10))
    return net

def train(x,y,seed,batch=256,peak=0.8,epochs=1.0,smooth=0.1,rise=0.25,ema=0.0,wd=0.0,warm=25.,**arch):
    t0=time.perf_counter()
    keras.utils.set_random_seed(seed)
    net=build(**arch)
    n=len(x); steps=int(n*epochs)//batch
    rng=np.random.default_rng(seed)
    order=np.concatenate([rng.permutation(n) for _ in range(int(np.ceil(epochs)))])[:steps*batch].reshape(steps,batch).astype("int32")
    xs=tf.constant(s2d(x)); ys=tf.constant(y.astype("int32")); od=tf.constant(order)
    t=np.arange(steps); r=max(1,int(steps*rise))
    lr=np.where(t<r, peak/warm+(peak-peak/warm)*t/r, peak*(1+np.cos(np.pi*(t-r)/(steps-r)))/2).astype("float32")
    lrs=tf.constant(lr)
    W=net.trainable_variables; V=[tf.Variable(tf.zeros(w.shape)) for w in W]
    Wt=[w.value for w in W]
    t1=time.perf_counter()
    @tf.function
    def run():
        for i in tf.range(steps):
            idx=od[i]
            xb=tf.cast(tf.gather(xs,idx),tf.float32)/255.; yb=tf.one_hot(tf.gather(ys,idx),10)
            with tf.GradientTape() as tape:
                logits=net(xb,training=True)
                loss=tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits((1-smooth)*yb+smooth/10,logits))
            g=tape.gradient(loss,Wt)
            for w,v,gg in zip(Wt,V,g):
                m=0.9*v+gg; v.assign(m); w.assign_sub(lrs[i]*(gg+0.9*m))
        return loss
    f=run.get_concrete_function(); t2=time.perf_counter()
    f(); t3=time.perf_counter()
    return net,(t1-t0,t2-t1,t3-t2,t3-t0)

def acc(net,x,y,shifts=((0,0),)):
    out=0
    for dx,dy in shifts:
        xx=np.roll(x,(dx,dy),(1,2))
        out=out+net.predict(s2d(xx).astype("float32")/255.,batch_size=2000,verbose=0)
    return (out.argmax(1)==y).mean()
TTA=[(i,j) for i in (-1,0,1) for j in (-1,0,1)]
if __name__=="__main__":
    kw=json.loads(sys.argv[1]); seeds=int(sys.argv[2]); held=len(sys.argv)<4
    A=[];B=[];T=[]
    for s in range(seeds):
        if held:
            p=np.random.default_rng(1000+s).permutation(60000); tr,te=p[:50000],p[50000:]
            k=dict(kw); k["epochs"]=k.get("epochs",1.0)*60000/50000
            net,t=train(X[tr],Y[tr],s,**k); a=acc(net,X[te],Y[te]); b=acc(net,X[te],Y[te],TTA)
        else:
            net,t=train(X,Y,s,**kw); a=acc(net,XT,YT); b=acc(net,XT,YT,TTA)
        A.append(a);B.append(b);T.append(t)
    T=np.array(T)
    print(json.dumps(kw),"acc %.4f tta %.4f"%(np.mean(A),np.mean(B)),"build %.2f trace %.2f run %.2f all %.2f"%tuple(np.median(T,0)),"params",net.count_params(),flush=True)
