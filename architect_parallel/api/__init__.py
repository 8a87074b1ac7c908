"""One module per verb, for the command line and for Python callers. The rooms below are put together here.

`launch` runs a `ParallelConfig`, `resume` goes on with an interrupted run, `merge` lands results, `doctor` examines the
machine.
"""
