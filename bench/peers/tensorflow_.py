"""TensorFlow: the epoch as one `tf.function`, the gradient by GradientTape."""

from typing import Any

import tensorflow as tf


def _mse(V, y):
    # V (n, h, c), one-hot y (n, 1, c) -> summed over the rows and heads
    return tf.reduce_sum((tf.nn.softmax(V) - y) ** 2) / V.shape[2]


def _cross_entropy(V, y):
    y = tf.repeat(y, V.shape[1], axis=1)
    return tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(y, V))


LOSSES: Any = {"mse": _mse, "cross_entropy": _cross_entropy}


def epoch(e: Any) -> Any:
    # the heads side by side: W (h·c, d), b (h·c,)
    d, c, h = e.X.shape[1], e.c, len(e.rates)
    loss_of = LOSSES[e.loss]
    X, Y = tf.constant(e.X), tf.one_hot(e.y, c)[:, None]
    batches = tf.constant(e.order.reshape(-1, e.batch_size))
    rates = tf.repeat(tf.constant(e.rates), c)
    W, b = tf.Variable(tf.zeros((h * c, d))), tf.Variable(tf.zeros(h * c))

    def loss(x, y):
        """Summed over the heads, the mean over the rows."""
        V = tf.matmul(x, W, transpose_b=True) + b
        return loss_of(tf.reshape(V, (-1, h, c)), y) / e.batch_size

    @tf.function(jit_compile=True)
    def descend():
        W.assign(tf.zeros_like(W))
        b.assign(tf.zeros_like(b))
        for rows in batches:
            x = tf.gather(X, rows)
            if x.dtype != W.dtype:
                x = tf.cast(x, W.dtype) * e.feature_scale
            with tf.GradientTape() as tape:
                L = loss(x, tf.gather(Y, rows))
            dW, db = tape.gradient(L, (W, b))
            W.assign_sub(rates[:, None] * dW)
            b.assign_sub(rates * db)

    def call():
        descend()
        return W.numpy().reshape(h, c, d).transpose(0, 2, 1), b.numpy().reshape(h, c)

    return call
