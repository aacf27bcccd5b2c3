"""How things are measured: processes of their own, their memory, repetitions in turn, ratios, and the document of a run."""
