"""softstep.model.plots: figures of softmax regressions, by matplotlib (`softstep[plot]`).

One file per figure. A figure function takes `theme="light"` or `"dark"` and returns a matplotlib
Figure, which nothing else refers to; `style.py` says how all of them look.
"""
