"""How a command says that it ended without success and without an error: what started it may start it again."""

# Told to stop (SIGTERM), with its progress on disk; the code that shells give for that signal.
STOPPED = 143
# Another process trains this run (EX_TEMPFAIL of sysexits.h).
BUSY = 75
# The training diverged: it is finished, with a record and without scores, and would diverge again.
DIVERGED = 65
