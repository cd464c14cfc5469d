"""The page of a store: a card per study, and what the papers printed beside what its studies found.

It is made from study.json and report.json of each study, never from scores: what a card says is what the report that it
leads to says. Folders are taken as they come; one that cannot be read is named with its reason.
"""
