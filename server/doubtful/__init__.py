"""Doubtful cases of a site: who may be whom, although the names say otherwise or say nothing.

Three searches, a module each, over one plain `Moment`: `unnamed`, `merges` and `misnamed`.
"""

from server.doubtful.cases import Doubt, candidates, find, useful
from server.doubtful.moment import Embedded, Searches, meaning_of, moment_of

__all__ = ["Doubt", "Embedded", "Searches", "candidates", "find", "meaning_of", "moment_of", "useful"]
