"""The source that a stage reaches, and its fingerprint: a key knows a function by its name, this knows what it does.

:func:`stage.of` follows a stage's function through every definition that it reaches, by the syntax of the modules
alone: functions, classes with all their methods, constants, what was imported from where. What cannot change an
artefact is left out: formatting, comments, docstrings, annotations, messages of errors, and the module a definition
lies in.
What is looked up by name is followed where the name is one of the stage's: an entry of a table such as ``LOSSES``, a
``package.module:attribute``, a data file beside a module.

Only source of one's own is read: of this project, of the package that a stage's function or a dotted name is from, and
of modules that lie outside site-packages. The versions of other libraries stand in a manifest's ``environment``.

What this cannot see: attributes fetched by a computed name, and code that is made while it runs.
"""
