"""Faults on a whole running stack, on a schedule that a seed decides, judged by the checker.

``schedule`` plans (pure), ``system`` runs the stack with a proxy on every edge, ``faults``
injects and proves, ``clients`` and ``listeners`` are the clients, ``run`` conducts, ``report``
tells. Correctness is the aim, not speed: ``harness`` measures elsewhere.
"""
