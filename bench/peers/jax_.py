"""JAX: the epoch as one compiled `lax.scan`."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def scan(e):
    # the heads side by side: W (d, h·c), b (h, c)
    d, c, h = e.X.shape[1], e.c, len(e.rates)
    rates = jnp.asarray(e.rates)
    X, y = jnp.asarray(e.X), jnp.asarray(e.y)
    batches = jnp.asarray(e.order.reshape(-1, e.batch_size))

    def loss(weights, x, y):
        V = (x @ weights[0]).reshape(-1, h, c) + weights[1]
        if e.loss == "mse":
            return jnp.sum((jax.nn.softmax(V) - jax.nn.one_hot(y, c)[:, None]) ** 2) / (len(x) * c)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(V), y[:, None, None], 2)
        return -jnp.sum(log_p) / len(x)

    @jax.jit
    def epoch(X, y, batches, W, b):
        def step(weights, rows):
            W, b = weights
            x = X[rows]
            if x.dtype != W.dtype:
                x = x.astype(W.dtype) * e.feature_scale
            dW, db = jax.grad(loss)(weights, x, y[rows])
            return (W - jnp.repeat(rates, c) * dW, b - rates[:, None] * db), None

        return lax.scan(step, (W, b), batches)[0]

    def call():
        W, b = epoch(X, y, batches, jnp.zeros((d, h * c)), jnp.zeros((h, c)))
        return np.asarray(W).reshape(d, h, c).transpose(1, 0, 2), np.asarray(b)

    return call


def softmax(V):
    V, compiled = jnp.asarray(V), jax.jit(jax.nn.softmax)
    return lambda: (np.asarray(compiled(V)),)
