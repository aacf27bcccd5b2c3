"""What the pipeline costs, measured beside what else one could use, on one machine in one run.

``python -m benchmarks`` runs the rows of the goals (:mod:`benchmarks.goals`), each a module of its own, and writes a JSON
document into ``results/``; ``render`` makes ``docs/performance.md`` of it. The package calls public functions of
:mod:`mg_lakehouse` only, so that it measures whatever these are today. No test asserts a time.

* :mod:`benchmarks.harness`: processes, memory, repetitions, ratios, the result document
* :mod:`benchmarks.data`: the feed, bronze, and a history written in bulk
* :mod:`benchmarks.work`: what is timed, each in a process of its own
* :mod:`benchmarks.peers`: what the pipeline is compared with
* :mod:`benchmarks.goals`: one module for each row
* :mod:`benchmarks.report`: tables and plots
"""
