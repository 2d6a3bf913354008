"""Text: edits made in the bytes of a file, shown as a diff, written to the disk. Nothing here imports torch."""
