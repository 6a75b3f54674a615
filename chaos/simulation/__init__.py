"""regrow.chaos.simulation: the product's real cores on a modelled machine, under one seeded virtual clock.

::

    client ─▶ gateway ─▶ store ◀─ store calls ◀─ dispatcher ◀─ links ─▶ workers ─▶ slots
                                                    ▲ Dispatch            ▲ Slots, Judge
    root ─ workers (supervisors) ─▶ starts, beats, deaths                 real
           ▲ Supervision, Liveness

Real: every core.  Modelled: what is between and below them, that is the shells, the store's scripts, network, processes and time.
"""
