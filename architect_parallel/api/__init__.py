"""The journey from what the user asked for to results; the only room where the parts are put together.

`place` opens repository, settings and backends; `planning` turns a `ParallelConfig` into a plan; `running` executes
plans and goes on with interrupted ones; `examination` is the doctor. The command line and the Python API are two
callers of the same.
"""
