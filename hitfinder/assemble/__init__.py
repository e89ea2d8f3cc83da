"""The only place where objects are wired together: a configuration in; a judge, a service
or its live page out.

Relative paths of a configuration are relative to `folder`, the one its file lies in.
"""

from hitfinder.assemble.judging import Clock, Judging, SecondStep, build_judging, warm
from hitfinder.assemble.plans import known_region
from hitfinder.assemble.service import build_service

__all__ = [
    "Clock",
    "Judging",
    "SecondStep",
    "build_judging",
    "build_service",
    "known_region",
    "warm",
]
