"""From what a fix does to a model to changes of it: edits of source files, and layers put in place in a live model."""
