//! Directories with something broken in them: what is broken is left out and listed, and the rest is there.
