"""The only room that knows RLlib; what leaves it are the files of :mod:`drl.policy`."""
