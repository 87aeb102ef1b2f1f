"""What `train` on the GPU consists of, besides the op: shapes, the call, many steps in a launch."""
