"""How much faster something is: paired, interleaved, with the spread, and not on a machine that is busy with other things."""
