"""The program behind `workers/supervisor.py`; imports nothing of the rest and little of the standard library."""
