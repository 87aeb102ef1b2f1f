"""Studies of what is promised to who leaves a training alone, or opens somebody's file."""
