"""Values: the chance that everything of a simulation is drawn from: seeded, so that it is the same in every run.

The only module here that names it: a core is given its dice, as it is given the time.
"""

from random import Random as Chance

__all__ = ["Chance"]
