"""Containment of agents and checks: what they may write and see, and the steps that hold them to it."""
